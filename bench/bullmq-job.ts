import type { DefaultJobOptions } from 'bullmq';

/** The data of one delivery's job. The worker looks the subscription up by its id. */
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

/** Ten attempts, as in the program's default. Redis drops completed jobs, because the log is in Postgres. */
export const JOB_OPTIONS = {
  attempts: 10,
  backoff: { type: 'exponential', delay: 5_000 },
  removeOnComplete: true,
  removeOnFail: { age: 24 * 3_600 },
} satisfies DefaultJobOptions;

/** The first message to each process. It is not an argument, because all users of a machine can read arguments. */
export type Place = { readonly databaseUrl: string; readonly redisUrl: string };
/** The number of events to produce, or of deliveries to complete, from now on. */
export type Order = { readonly count: number };
/** When the process began and completed an order, in milliseconds of clockMs. */
export type Done = { readonly from: number; readonly to: number };
