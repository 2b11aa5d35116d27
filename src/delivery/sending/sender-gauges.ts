import { Gauge, type Registry } from 'prom-client';
import type { Gates } from './limiter.ts';
import type { Places } from '../../lib/places.ts';

/** Shows what a sender has in hand. */
export function watchSender(
  metrics: Registry,
  { gates, places }: { readonly gates: Pick<Gates, 'inFlight'>; readonly places: Pick<Places, 'taken'> },
): void {
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_attempts_in_flight' },
    help: 'Attempts that this process is making',
    collect() {
      this.set(gates.inFlight);
    },
  });
  new Gauge({
    ...{ registers: [metrics], name: 'webhooks_sender_places_taken' },
    help: 'Places for deliveries that are taken in this process, of 1,000; large ones take several',
    collect() {
      this.set(places.taken);
    },
  });
}
