/** Calls `action` at once if the signal has aborted, else when it does, until the returned function is called. */
export function whenAborted(signal: AbortSignal, action: () => void): () => void {
  if (signal.aborted) action();
  else signal.addEventListener('abort', action, { once: true });
  return () => {
    signal.removeEventListener('abort', action);
  };
}
