import { pause } from './pause.ts';

/** Does one round of its work after the other, from start() until stop(). */
export abstract class Loop {
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  /** Waits for the round in hand, which uses what is closed after that. Each of its statements has a limit of its own. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
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
