/** Shows a person at the terminal what takes so long. */
export type Report = (text: string) => void;

/** Does `work`, and reports `text` once if it takes longer than a second. */
export async function reportWhenSlow<T>(report: Report, text: string, work: () => Promise<T>): Promise<T> {
  const timer = setTimeout(() => {
    report(text);
  }, 1_000);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}
