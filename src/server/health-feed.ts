import { InFlight } from '../lib/in-flight.ts';
import { latestValues } from '../lib/latest-values.ts';
import type { ServerHealth } from '../schema/server.ts';

const INTERVAL_MS = 1_000;

type HealthWatcher = (health: ServerHealth) => void;

/** Checks the state of the process once a second for all watchers. Without watchers it checks nothing. */
export class HealthFeed {
  readonly #check: () => Promise<ServerHealth>;
  readonly #watchers = new Set<HealthWatcher>();
  readonly #checks = new InFlight();
  /** The state of the last check; undefined while nobody watches. */
  #known: ServerHealth | undefined;
  #isChecking = false;

  /** `check` never rejects. */
  constructor(check: () => Promise<ServerHealth>) {
    this.#check = check;
  }

  /** Yields the state, then each change of it, until the server stops. */
  watch(stopping: AbortSignal): AsyncIterableIterator<ServerHealth> {
    return latestValues<ServerHealth>(({ emit }) => {
      let emitted: string | undefined;
      const watcher: HealthWatcher = (health) => {
        const text = JSON.stringify(health);
        if (text !== emitted) emit(health);
        emitted = text;
      };
      this.#watchers.add(watcher);
      if (this.#known !== undefined) watcher(this.#known);
      if (!this.#isChecking) void this.#checkAll();
      return () => this.#watchers.delete(watcher);
    }, stopping);
  }

  /** Waits for the check in progress. watch() must not be called afterwards. */
  async stop(): Promise<void> {
    await this.#checks.settled();
  }

  async #checkAll(): Promise<void> {
    this.#isChecking = this.#watchers.size > 0;
    if (!this.#isChecking) {
      this.#known = undefined;
      return;
    }
    const health = await this.#checks.track(this.#check());
    this.#known = health;
    for (const watcher of this.#watchers) watcher(health);
    setTimeout(() => void this.#checkAll(), INTERVAL_MS).unref();
  }
}
