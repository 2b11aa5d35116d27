import type { Database } from '../database/client.ts';
import type { EventBus } from '../events/event-bus.ts';

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

/** Whether this process can do its work right now; answers within 2 s. */
export async function checkReadiness({ database, bus, hasStarted }: HealthServices): Promise<Readiness> {
  const parts = {
    database: await checkDatabase(database),
    nats: bus.connected ? { ok: true } : { ok: false, message: 'NATS is not connected' },
    start: hasStarted() ? { ok: true } : { ok: false, message: 'still starting: waiting for Postgres or NATS' },
  };
  return { ready: Object.values(parts).every(({ ok }) => ok), parts };
}

async function checkDatabase({ pool }: HealthServices['database']): Promise<Part> {
  // What pg says can name hosts and users; nobody needs to be logged in to ask for this.
  const failed: Part = { ok: false, message: 'Postgres does not answer' };
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
