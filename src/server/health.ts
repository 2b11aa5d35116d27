import type { Database } from '../database/client.ts';
import type { EventBus } from '../events/event-bus.ts';
import { createSnapshot } from '../snapshot.ts';

type Part = { readonly ok: boolean; readonly message?: string };
export type Readiness = {
  readonly ready: boolean;
  readonly parts: { readonly database: Part; readonly nats: Part; readonly start: Part };
};

export type HealthServices = {
  readonly database: Pick<Database, 'pool'>;
  readonly bus: Pick<EventBus, 'connected'>;
  /** Whether this process has got over its start: database migrated, NATS connected, roles running. */
  readonly hasStarted: () => boolean;
};

const TIMEOUT_MS = 2_000;
const CHECK = 'SELECT';

/**
 * Whether this process can do its work right now; answers within 2 s. Nobody needs a key to ask, so all who ask while
 * Postgres takes its time wait for the same answer.
 */
export function createReadinessCheck({ database, bus, hasStarted }: HealthServices): () => Promise<Readiness> {
  const askDatabase = createSnapshot(() => database.pool.query(CHECK), { waitMs: TIMEOUT_MS, freshMs: 0, staleMs: 0 });
  return async () => {
    const isAnswering = (await askDatabase()) !== undefined;
    const parts = {
      // What pg says can name hosts and users.
      database: isAnswering ? { ok: true } : { ok: false, message: 'Postgres does not answer' },
      nats: bus.connected ? { ok: true } : { ok: false, message: 'NATS is not connected' },
      start: hasStarted() ? { ok: true } : { ok: false, message: 'still starting: waiting for Postgres or NATS' },
    };
    return { ready: Object.values(parts).every(({ ok }) => ok), parts };
  };
}
