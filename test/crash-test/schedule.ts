import { seededChance } from '../support/seeded-chance.ts';

/**
 * `kill`: SIGKILL, with a restart after `forMs`. `pause`: SIGSTOP and SIGCONT. `isolate`: a member of the cluster is cut off
 * from the others. `restart`: SIGTERM, and the next start once it has ended. The others are modes of an endpoint.
 */
export const KINDS = ['kill', 'pause', 'isolate', 'restart', 'fail', 'hang', 'refuse'] as const;
type DisturbanceKind = (typeof KINDS)[number];

export type Disturbance = {
  /** Time on the publishing clock, which stops while the publisher waits. */
  readonly atMs: number;
  readonly kind: DisturbanceKind;
  /** A process (`sender-2`, `postgres`), an endpoint (`endpoint-7`), `leader of EVENTS`, or EVERYTHING. */
  readonly target: string;
  readonly forMs: number;
};

type Range = readonly [minMs: number, maxMs: number];
type Card = { readonly kind: DisturbanceKind; readonly targets: readonly string[]; readonly forMs: Range };

/** The disturbances of a run. */
export type ScheduleForm = {
  /** The possible disturbances. Each card is drawn once, in an order given by the seed, before any is drawn again. */
  readonly cards: readonly Card[];
  /** Time from one disturbance to the next. */
  readonly gapMs: Range;
  /** Minimum time between two disturbances of a target. */
  readonly restMs: number;
};

export type ScheduleOptions = {
  readonly seed: number;
  readonly form: ScheduleForm;
  /** All disturbances end within this time. */
  readonly durationMs: number;
};

/** The processes of a run. */
export type Topology = {
  /** Processes of the program: each name is a role and, if there are several, a number. */
  readonly processes: readonly string[];
  readonly servers: readonly string[];
  readonly isCluster: boolean;
  /** Variables of the program in addition to those of the test. */
  readonly env: Readonly<Record<string, string>>;
};

const SENDERS = ['sender-1', 'sender-2'];
const DISPATCHERS = ['dispatcher-1', 'dispatcher-2'];

export const SINGLE: Topology = {
  processes: [...SENDERS, ...DISPATCHERS, 'api'],
  servers: ['nats-server', 'postgres'],
  isCluster: false,
  env: {},
};

/** Three nats-servers with streams of three replicas, and all roles on processes of their own. */
export const CLUSTER: Topology = {
  processes: [...SENDERS, 'dispatcher-1', 'api-1', 'api-2'],
  servers: ['nats-1', 'nats-2', 'nats-3', 'postgres'],
  isCluster: true,
  env: { NATS_REPLICAS: '3' },
};

export const ENDPOINTS = 20;
/** Target of a rolling restart: each process and server in turn. */
export const EVERYTHING = 'everything';
const LEADERS = ['leader of EVENTS', 'leader of DELIVERIES'];
const EVERY_ENDPOINT = Array.from({ length: ENDPOINTS }, (_, index) => `endpoint-${index}`);
/** Time without disturbances at the start, in which the first deliveries arrive. */
const BEGIN_MS = 2_000;

function cardsOf(times: {
  readonly down: Range;
  readonly pause: Range;
  readonly fail: Range;
  readonly hang: Range;
  readonly refuse: Range;
}): Card[] {
  const servers = SINGLE.servers.map((name) => [name]);
  return [
    ...[...servers, ...SINGLE.processes.map((name) => [name])].map(
      (targets): Card => ({ kind: 'kill', targets, forMs: times.down }),
    ),
    ...[...servers, SENDERS, DISPATCHERS].map((targets): Card => ({ kind: 'pause', targets, forMs: times.pause })),
    { kind: 'fail', targets: EVERY_ENDPOINT, forMs: times.fail },
    { kind: 'hang', targets: EVERY_ENDPOINT, forMs: times.hang },
    { kind: 'refuse', targets: EVERY_ENDPOINT, forMs: times.refuse },
  ];
}

/** Pauses shorter and longer than each ack wait, and outages of endpoints that are long enough to open circuits. */
export const FULL_FORM: ScheduleForm = {
  cards: [
    ...cardsOf({
      down: [0, 3_000],
      pause: [500, 8_000],
      fail: [1_000, 15_000],
      hang: [2_000, 15_000],
      refuse: [1_000, 15_000],
    }),
    { kind: 'pause', targets: SENDERS, forMs: [62_000, 75_000] },
    { kind: 'pause', targets: DISPATCHERS, forMs: [11_000, 20_000] },
    { kind: 'pause', targets: ['api'], forMs: [500, 8_000] },
    // Another kill of the targets whose kill loses the most state.
    { kind: 'kill', targets: SENDERS, forMs: [0, 3_000] },
    { kind: 'kill', targets: ['nats-server'], forMs: [0, 1_000] },
    { kind: 'kill', targets: ['postgres'], forMs: [0, 1_000] },
  ],
  gapMs: [1_500, 4_500],
  restMs: 8_000,
};

/**
 * Each disturbance once, one at a time, and too short to open a circuit. With overlapping disturbances, the sweeper
 * more often needs a minute to find lost messages.
 */
export const SHORT_FORM: ScheduleForm = {
  cards: cardsOf({
    down: [0, 400],
    pause: [200, 700],
    fail: [300, 500],
    hang: [300, 700],
    refuse: [300, 500],
  }),
  gapMs: [800, 1_200],
  restMs: 2_000,
};

/** Kills, pauses and isolation of stream leaders, kills and pauses of processes, rolling restarts, and outages of endpoints. */
export const CLUSTER_FORM: ScheduleForm = {
  cards: [
    ...[...LEADERS, 'postgres', ...CLUSTER.processes].map(
      (target): Card => ({ kind: 'kill', targets: [target], forMs: [0, 3_000] }),
    ),
    ...[LEADERS, ['postgres'], SENDERS, ['dispatcher-1']].map(
      (targets): Card => ({ kind: 'pause', targets, forMs: [500, 8_000] }),
    ),
    ...LEADERS.map((target): Card => ({ kind: 'isolate', targets: [target], forMs: [2_000, 15_000] })),
    { kind: 'restart', targets: [EVERYTHING], forMs: [0, 0] },
    { kind: 'fail', targets: EVERY_ENDPOINT, forMs: [1_000, 15_000] },
    { kind: 'hang', targets: EVERY_ENDPOINT, forMs: [2_000, 15_000] },
    { kind: 'refuse', targets: EVERY_ENDPOINT, forMs: [1_000, 15_000] },
  ],
  gapMs: [3_000, 7_000],
  restMs: 15_000,
};

/** Returns the stream whose leader is the target; undefined if the target is something else. */
export function streamOfLeader(target: string): string | undefined {
  return /^leader of (.+)$/.exec(target)?.[1];
}

/** Plans the disturbances. The result depends only on the seed, the form and the duration. */
export function planSchedule({ seed, form, durationMs }: ScheduleOptions): Disturbance[] {
  const chance = (key: string) => seededChance(seed, key);
  const busyUntil = new Map<string, number>();
  const schedule: Disturbance[] = [];
  let deck: Card[] = [];
  let atMs = BEGIN_MS;
  for (let turn = 0; ; turn += 1) {
    atMs += Math.round(between(form.gapMs, chance(`gap ${turn}`)));
    if (atMs >= durationMs) return schedule;
    if (deck.length === 0) deck = shuffle(form.cards, (index) => chance(`card ${turn} ${index}`));
    // The first card with a free target; without one, there is no disturbance at this time.
    const free = (name: string) => (busyUntil.get(name) ?? 0) <= atMs;
    const index = deck.findIndex(({ targets }) => targets.some(free));
    const [card] = index < 0 ? [] : deck.splice(index, 1);
    if (card === undefined) continue;
    const target = pick(card.targets.filter(free), chance(`target ${turn}`));
    const forMs = Math.min(Math.round(between(card.forMs, chance(`time ${turn}`))), durationMs - atMs);
    schedule.push({ atMs, kind: card.kind, target, forMs });
    busyUntil.set(target, atMs + forMs + form.restMs);
  }
}

function between([min, max]: Range, chance: number): number {
  return min + chance * (max - min);
}

function pick(names: readonly string[], chance: number): string {
  return names[Math.floor(chance * names.length)] ?? '';
}

function shuffle<T>(items: readonly T[], chance: (index: number) => number): T[] {
  return items
    .map((item, index) => ({ item, order: chance(index) }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item);
}
