import type { Database } from '../database/client.ts';
import type { EventBus } from '../events/event-bus.ts';

type Part = { readonly ok: boolean; readonly message?: string };
export type Readiness = { readonly ready: boolean; readonly parts: { readonly database: Part; readonly nats: Part } };

export type HealthServices = { readonly database: Pick<Database, 'pool'>; readonly bus: Pick<EventBus, 'connected'> };

const TIMEOUT_MS = 2_000;
/** Fails until the database is there and migrated. */
const CHECK = 'SELECT FROM attempts LIMIT 0';

/** Whether this process can do its work right now; answers within 2 s. */
export async function checkReadiness({ database, bus }: HealthServices): Promise<Readiness> {
  const parts = {
    database: await checkDatabase(database),
    nats: bus.connected ? { ok: true } : { ok: false, message: 'NATS is not connected' },
  };
  return { ready: parts.database.ok && parts.nats.ok, parts };
}

async function checkDatabase({ pool }: HealthServices['database']): Promise<Part> {
  // What pg says can name hosts and users; nobody needs to be logged in to ask for this.
  const failed: Part = { ok: false, message: 'Postgres does not answer, or is not migrated' };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Part>((resolve) => {
    timer = setTimeout(resolve, TIMEOUT_MS, failed);
  });
  const answer = pool.query(CHECK).then(
    () => ({ ok: true }),
    () => failed,
  );
  const part = await Promise.race([answer, late]);
  clearTimeout(timer);
  return part;
}
