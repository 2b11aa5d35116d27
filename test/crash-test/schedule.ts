import { seededChance } from '../support/seeded-chance.ts';

/** `kill`: SIGKILL, and started again after `forMs`. `pause`: SIGSTOP, and SIGCONT. The others are what an endpoint does. */
type DisturbanceKind = 'kill' | 'pause' | 'fail' | 'hang' | 'refuse';

export type Disturbance = {
  /** On the clock of publishing, which stands still while nothing can be published. */
  readonly atMs: number;
  readonly kind: DisturbanceKind;
  /** A process (`sender-2`, `postgres`) or an endpoint (`endpoint-7`). */
  readonly target: string;
  readonly forMs: number;
};

type Range = readonly [minMs: number, maxMs: number];
type Card = { readonly kind: DisturbanceKind; readonly targets: readonly string[]; readonly forMs: Range };

/** How a run is disturbed. */
export type ScheduleForm = {
  /** What can happen. All of it does, in an order of the seed's, before any of it does again. */
  readonly cards: readonly Card[];
  readonly gapMs: Range;
  /** A target that was disturbed is left alone for so long after it. */
  readonly restMs: number;
};

export type ScheduleOptions = {
  readonly seed: number;
  readonly form: ScheduleForm;
  /** Nothing begins, or lasts, later. */
  readonly durationMs: number;
};

export const ENDPOINTS = 20;
export const ROLE_PROCESSES = ['sender-1', 'sender-2', 'dispatcher-1', 'dispatcher-2', 'api'] as const;
const SENDERS = ['sender-1', 'sender-2'];
const DISPATCHERS = ['dispatcher-1', 'dispatcher-2'];
const EVERY_ENDPOINT = Array.from({ length: ENDPOINTS }, (_, index) => `endpoint-${index}`);
/** Time to notice that it works before the first blow. */
const BEGIN_MS = 2_000;

function cardsOf(times: {
  readonly down: Range;
  readonly pause: Range;
  readonly fail: Range;
  readonly hang: Range;
  readonly refuse: Range;
}): Card[] {
  const servers = [['nats-server'], ['postgres']];
  return [
    ...[...servers, ...ROLE_PROCESSES.map((name) => [name])].map(
      (targets): Card => ({ kind: 'kill', targets, forMs: times.down }),
    ),
    ...[...servers, SENDERS, DISPATCHERS].map((targets): Card => ({ kind: 'pause', targets, forMs: times.pause })),
    { kind: 'fail', targets: EVERY_ENDPOINT, forMs: times.fail },
    { kind: 'hang', targets: EVERY_ENDPOINT, forMs: times.hang },
    { kind: 'refuse', targets: EVERY_ENDPOINT, forMs: times.refuse },
  ];
}

/** Pauses up to, and one beyond, every ack wait; endpoints down for long enough that their circuits open. */
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
    // What loses most.
    { kind: 'kill', targets: SENDERS, forMs: [0, 3_000] },
    { kind: 'kill', targets: ['nats-server'], forMs: [0, 1_000] },
    { kind: 'kill', targets: ['postgres'], forMs: [0, 1_000] },
  ],
  gapMs: [1_500, 4_500],
  restMs: 8_000,
};

/**
 * Everything once, one thing at a time, and for so short that no circuit opens: with several at a time it happens more
 * often that it takes the sweeper a minute to find out what was lost.
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

/** What happens when: the same for the same seed, form and duration, whatever the machine does. */
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
    // Whatever is at hand whose target is left; if none is, nothing happens now.
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
