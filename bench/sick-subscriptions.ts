import type { Stack } from './stack.ts';
import { createSubscription, deleteSubscription } from './subscriptions.ts';

const KINDS = ['hanging', 'failing', 'rate-limited'] as const;

/** Pending deliveries and attempts so far, by kind of subscription. */
export type Backlog = Readonly<Record<string, { readonly pending: number; readonly attempts: number }>>;

export type SickSubscriptions = {
  /** The NATS subject of each subscription's events. */
  readonly subjects: readonly string[];
  backlog(): Promise<Backlog>;
  delete(): Promise<void>;
};

export type SickOptions = {
  readonly tenant: string;
  /** A part of the event types' names, so that each block has its own subscriptions and events. */
  readonly block: string;
  /** The URLs of a receiver started with SICK_ENDPOINTS. */
  readonly urls: readonly string[];
};

/** The receiver's arguments: one endpoint for each kind of subscription. */
export const SICK_ENDPOINTS = ['hanging', 'failing', 'accepting'] as const;
const LIMIT_PER_SECOND = 10;

export async function createSickSubscriptions(
  stack: Stack,
  { tenant, block, urls: [hanging = '', failing = '', accepting = ''] }: SickOptions,
): Promise<SickSubscriptions> {
  const settings = {
    hanging: { url: hanging },
    failing: { url: failing },
    'rate-limited': { url: accepting, rateLimitPerSecond: LIMIT_PER_SECOND },
  };
  const ids: string[] = [];
  for (const kind of KINDS) {
    ids.push(await createSubscription(stack, { tenant, eventTypes: [`sick.${block}.${kind}`], ...settings[kind] }));
  }
  return {
    subjects: KINDS.map((kind) => `events.${tenant}.sick.${block}.${kind}`),
    backlog: async () => {
      const counts = await Promise.all(ids.map((id) => countOf(stack, id)));
      return Object.fromEntries(KINDS.map((kind, index) => [kind, counts[index] ?? { pending: 0, attempts: 0 }]));
    },
    delete: async () => {
      for (const id of ids) await deleteSubscription(stack, id);
    },
  };
}

async function countOf({ query }: Stack, id: string): Promise<Backlog[string] | undefined> {
  const [row] = await query<{ pending: number; attempts: number }>(
    `SELECT count(*) FILTER (WHERE status = 'PENDING')::integer AS pending,
            coalesce(sum(attempt_count), 0)::integer AS attempts
     FROM deliveries WHERE subscription_id = $1`,
    [id],
  );
  return row;
}
