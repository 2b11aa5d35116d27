import type { DefaultJobOptions } from 'bullmq';

/** What the worker needs for one delivery; the subscription it looks up. */
export type DeliveryJob = {
  readonly deliveryId: string;
  readonly subscriptionId: string;
  readonly eventId: string;
  readonly eventType: string;
  /** ISO 8601. */
  readonly occurredAt: string;
  /** JSON. */
  readonly data: string;
};

export const QUEUE = 'deliveries';
export const TENANT = 'bench';
export const EVENT_TYPE = 'message.created';

/** As many attempts as the program makes by default. Redis does not keep what is done: the log is in Postgres. */
export const JOB_OPTIONS = {
  attempts: 10,
  backoff: { type: 'exponential', delay: 5_000 },
  removeOnComplete: true,
  removeOnFail: { age: 24 * 3_600 },
} satisfies DefaultJobOptions;

/** What each of the two processes gets first: where everything is, in place of arguments that the machine's users see. */
export type Place = { readonly databaseUrl: string; readonly redisUrl: string };
/** How many events to produce, or how many deliveries to make, from now on. */
export type Order = { readonly count: number };
/** When it had done so (clockMs), when it began, and what that took it. */
export type Done = { readonly from: number; readonly to: number };
