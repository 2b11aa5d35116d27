import { uuid7 } from '../src/lib/uuid7.ts';
import { obey } from './bullmq-process.ts';
import { connectBullmqPublisher } from './bullmq-publisher.ts';

/** Jobs in one `addBulk`, and deliveries in one INSERT. */
const JOBS_AT_ONCE = 100;

obey(async (place) => {
  const { subscriptionIds, publish } = await connectBullmqPublisher(place);
  const eventsAtOnce = Math.max(1, Math.floor(JOBS_AT_ONCE / subscriptionIds.length));
  return async (events) => {
    for (let from = 0; from < events; from += eventsAtOnce) {
      const eventIds = Array.from({ length: Math.min(eventsAtOnce, events - from) }, () => uuid7(Date.now()));
      await publish({ eventIds, subscriptionIds });
    }
  };
});
