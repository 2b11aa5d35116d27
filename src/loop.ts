import { atMost, pause } from './pause.ts';

/** For the round in hand; only a server that hangs takes longer. */
const STOP_MS = 5_000;

/** Does one round of its work after the other, from start() until stop(). */
export abstract class Loop {
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#running !== undefined) await atMost(STOP_MS, this.#running);
  }

  /** Resolves with after how many milliseconds the next round begins; must not reject. */
  protected abstract round(signal: AbortSignal): Promise<number>;

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const waitMs = await this.round(signal);
      if (waitMs > 0) await pause(waitMs, signal);
    }
  }
}
