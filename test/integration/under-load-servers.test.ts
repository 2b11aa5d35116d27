import { expect, inject, it } from 'vitest';
import { createCleanUps } from '../support/clean-ups.ts';
import { startTestPostgres } from '../support/postgres.ts';
import { EXACTLY_ONCE, publishAndDisturb, startEngine, startLoad, startServices } from '../support/under-load.ts';

const cleanUps = createCleanUps();

it('under load, a nats-server that is killed four times loses nothing, and nothing is sent twice', async () => {
  const services = await startServices(cleanUps);
  const load = await startLoad(cleanUps, services, await startEngine(cleanUps, services));
  await publishAndDisturb(load, {
    times: 4,
    disturb: async () => {
      await services.nats.kill9();
      await services.nats.start();
    },
  });
  expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
});

it('under load, a Postgres that is killed three times loses nothing, and nothing is sent twice', async () => {
  const postgres = await startTestPostgres(inject('postgresCluster'));
  cleanUps.push(() => postgres.stop());
  const services = { ...(await startServices(cleanUps)), databaseUrl: postgres.url, query: postgres.query };
  const load = await startLoad(cleanUps, services, await startEngine(cleanUps, services));
  await publishAndDisturb(load, {
    times: 3,
    disturb: async () => {
      await postgres.kill9();
      await postgres.start();
    },
  });
  expect(await load.count(), load.label).toEqual(EXACTLY_ONCE);
});
