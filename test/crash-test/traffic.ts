import { ENDPOINTS } from './schedule.ts';

/** An event that JetStream or `publishEvent` has acknowledged. */
export type AcknowledgedEvent = { readonly id: string; readonly number: number };

/** A delivery that must arrive: one event at one subscribed endpoint. */
export type ExpectedDelivery = { readonly eventId: string; readonly endpoint: number };

export const TENANT = 'acme';
const EVENT_TYPES = 16;
const GRAPHQL_SHARE = 20;

/** The first 16 endpoints have different types; each further endpoint shares the type of one of them. */
export function typeSubscribedBy(endpoint: number): string {
  const extra = ENDPOINTS - EVENT_TYPES;
  return nameOf(endpoint < EVENT_TYPES ? endpoint : (endpoint - EVENT_TYPES) * Math.floor(EVENT_TYPES / extra));
}

/** Whether an event is published with `publishEvent`, through the api process, and not over JetStream. */
export function isPublishedOverGraphql(event: number): boolean {
  return event % GRAPHQL_SHARE === 0;
}

export function typeOf(event: number): string {
  return nameOf(event % EVENT_TYPES);
}

function nameOf(type: number): string {
  return `crash.t${type}`;
}

const ENDPOINTS_BY_TYPE = new Map<string, readonly number[]>(
  Array.from({ length: EVENT_TYPES }, (_, type) => [
    nameOf(type),
    Array.from({ length: ENDPOINTS }, (__, endpoint) => endpoint).filter(
      (endpoint) => typeSubscribedBy(endpoint) === nameOf(type),
    ),
  ]),
);

export function expectedDeliveriesOf({ id, number }: AcknowledgedEvent): ExpectedDelivery[] {
  return (ENDPOINTS_BY_TYPE.get(typeOf(number)) ?? []).map((endpoint) => ({ eventId: id, endpoint }));
}
