import { setTimeout as delay } from 'node:timers/promises';
import type { Endpoints } from './endpoints.ts';
import { type Disturbance, ROLE_PROCESSES } from './schedule.ts';
import type { Stack } from './stack.ts';

/** An executed disturbance; times in milliseconds since 1970. */
export type Happening = Pick<Disturbance, 'kind' | 'target'> & {
  readonly from: number;
  /** When the target was started again or resumed. */
  readonly to: number;
};

export type DisturberOptions = {
  readonly stack: Stack;
  readonly endpoints: Endpoints;
  /** Time on the publishing clock: starts at 0, and stops while the publisher waits. */
  readonly clockMs: () => number;
  readonly report: (text: string) => void;
  readonly signal: AbortSignal;
};

const TICK_MS = 10;

/** Executes the schedule. */
export class Disturber {
  readonly happenings: Happening[] = [];
  readonly #options: DisturberOptions;
  /** The last disturbance of each target. The next one waits for it, so that a slow server can finish its start. */
  readonly #last = new Map<string, Promise<void>>();

  #isEnding = false;

  constructor(options: DisturberOptions) {
    this.#options = options;
  }

  /** Resolves when all disturbances are over and all targets run; rejects if a target does not restart. */
  async run(schedule: readonly Disturbance[]): Promise<void> {
    const { signal, clockMs } = this.#options;
    for (const disturbance of schedule) {
      while (clockMs() < disturbance.atMs && !this.#isEnding) await delay(TICK_MS, undefined, { signal });
      if (this.#isEnding) break;
      const done = (this.#last.get(disturbance.target) ?? Promise.resolve()).then(() => this.#disturb(disturbance));
      this.#last.set(disturbance.target, done);
      // `Promise.all` below handles the rejection; this prevents an earlier report as unhandled.
      done.catch(() => undefined);
    }
    await Promise.all(this.#last.values());
  }

  /** After an interruption: resolves when no server is starting any more. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }

  /** Starts no further disturbance. */
  end(): void {
    this.#isEnding = true;
  }

  /** Kills the senders, so that no further attempts are made. */
  async freeze(): Promise<void> {
    for (const target of ROLE_PROCESSES.filter((name) => name.startsWith('sender'))) {
      this.happenings.push({ kind: 'kill', target, from: Date.now(), to: Number.POSITIVE_INFINITY });
      await this.#options.stack.victim(target).kill9();
    }
  }

  count(kind: Disturbance['kind']): number {
    return this.happenings.filter((happening) => happening.kind === kind).length;
  }

  async #disturb({ kind, target, forMs }: Disturbance): Promise<void> {
    const { stack, endpoints, report, signal } = this.#options;
    report(`${NAMES[kind]} ${target}, for ${(forMs / 1_000).toFixed(1)} s`);
    const happening = { kind, target, from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.happenings.push(happening);
    const wait = () => delay(forMs, undefined, { signal });
    const victim = stack.victim(target);
    if (kind === 'kill') {
      await victim.kill9();
      await wait();
      await victim.start();
    } else if (kind === 'pause') {
      await victim.pause();
      await wait();
      await victim.resume();
    } else {
      await endpoints.become(target, kind);
      await wait();
      await endpoints.become(target, 'answer');
    }
    happening.to = Date.now();
  }
}

const NAMES: Readonly<Record<Disturbance['kind'], string>> = {
  kill: 'kill -9',
  pause: 'SIGSTOP',
  fail: '500 from',
  hang: 'no answer from',
  refuse: 'no connection to',
};
