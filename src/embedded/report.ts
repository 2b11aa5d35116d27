/** Prints the name of a slow step on the terminal. */
export type Report = (text: string) => void;

/** Runs `work`, and reports `text` once if `work` takes longer than 1 s. */
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
