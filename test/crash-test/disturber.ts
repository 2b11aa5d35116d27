import { setTimeout as delay } from 'node:timers/promises';
import type { Endpoints } from './endpoints.ts';
import { type Disturbance, EVERYTHING } from './schedule.ts';
import type { Stack, Victim } from './stack.ts';

/** An executed disturbance; times in milliseconds since 1970. */
export type Incident = Pick<Disturbance, 'kind' | 'target'> & {
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
  readonly incidents: Incident[] = [];
  readonly #options: DisturberOptions;
  /**
   * The last disturbance of each target. The next one waits for it, so that a slow server can finish its start. All members of a
   * cluster count as one target: two of three must run for it to work.
   */
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
      if (disturbance.target === EVERYTHING) this.#restartEverything();
      else void this.#begin(disturbance);
    }
    await Promise.all(this.#last.values());
  }

  /** After an interruption: resolves when no server is starting any more. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#last.values());
  }

  /** Prevents further disturbances. */
  end(): void {
    this.#isEnding = true;
  }

  /** Kills the senders, so that no further attempts are made. */
  async freeze(): Promise<void> {
    for (const target of this.#options.stack.topology.processes.filter((name) => name.startsWith('sender'))) {
      this.incidents.push({ kind: 'kill', target, from: Date.now(), to: Number.POSITIVE_INFINITY });
      await (await this.#options.stack.victim(target)).kill9();
    }
  }

  count(kind: Disturbance['kind']): number {
    return this.incidents.filter((incident) => incident.kind === kind).length;
  }

  #begin(disturbance: Disturbance): Promise<void> {
    const { topology } = this.#options.stack;
    const isBroker = topology.isCluster && /^(nats-|leader of )/.test(disturbance.target);
    const key = isBroker ? 'nats' : disturbance.target;
    const done = (this.#last.get(key) ?? Promise.resolve()).then(() => this.#disturb(disturbance));
    this.#last.set(key, done);
    // run() handles the rejection. Until it does, Node.js must not report it as unhandled.
    done.catch(() => undefined);
    return done;
  }

  /** Restarts each target after the one before it, as an operator does. */
  #restartEverything(): void {
    const { processes, servers } = this.#options.stack.topology;
    const done = [...servers, ...processes].reduce(
      (before, target) => before.then(() => this.#begin({ atMs: 0, kind: 'restart', target, forMs: 0 })),
      Promise.resolve(),
    );
    this.#last.set(EVERYTHING, done);
    done.catch(() => undefined);
  }

  async #disturb({ kind, target, forMs }: Disturbance): Promise<void> {
    const { stack, endpoints, report, signal } = this.#options;
    const isOfEndpoint = kind === 'fail' || kind === 'hang' || kind === 'refuse';
    const victim = isOfEndpoint ? undefined : await stack.victim(target);
    const name = victim?.name ?? target;
    const incident = { kind, target: name, from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.incidents.push(incident);
    report(`${NAMES[kind]} ${name === target ? name : `${name}, ${target}`}, for ${(forMs / 1_000).toFixed(1)} s`);
    const wait = () => delay(forMs, undefined, { signal });
    if (isOfEndpoint) {
      await endpoints.become(target, kind);
      await wait();
      await endpoints.become(target, 'answer');
    } else if (victim !== undefined) {
      await STEPS[kind](victim, wait);
    }
    incident.to = Date.now();
  }
}

type Steps = (victim: Victim, wait: () => Promise<void>) => Promise<void>;

const STEPS: Readonly<Record<'kill' | 'pause' | 'isolate' | 'restart', Steps>> = {
  kill: async (victim, wait) => {
    await victim.kill9();
    await wait();
    await victim.start();
  },
  pause: async (victim, wait) => {
    await victim.pause();
    await wait();
    await victim.resume();
  },
  isolate: async (victim, wait) => {
    await victim.isolate?.();
    await wait();
    await victim.rejoin?.();
  },
  restart: async (victim) => {
    await victim.terminate();
    await victim.start();
    await victim.ready?.();
  },
};

const NAMES: Readonly<Record<Disturbance['kind'], string>> = {
  kill: 'kill -9',
  pause: 'SIGSTOP',
  isolate: 'no route to',
  restart: 'restart of',
  fail: '500 from',
  hang: 'no answer from',
  refuse: 'no connection to',
};
