export function isTimeout(error: unknown): boolean {
  console.dir(error, { depth: 6 });
  return String(error).includes('statement timeout');
}
