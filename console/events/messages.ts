import { count } from '../ui/format.ts';

export const eventWords = {
  title: 'Event',
  notFound: 'There is no event with this id',
  notFoundHint: 'It was not published, was rejected, belongs to another tenant, or is no longer kept:',
  occurred: 'Occurred',
  recorded: 'Recorded',
  data: 'Data',
  redacted: 'The data of this event was removed.',
  considered: 'Considered subscriptions',
  consideredHint:
    'Every subscription that the tenant had when the event was dispatched, and why it got the event or not.',
  noneConsidered: (tenant: string) => `The tenant ${tenant} had no subscription when the event was dispatched.`,
  otherTenant:
    'If the event belongs to another tenant, publish it again: the second part of the subject names the tenant.',
  deliveries: 'Deliveries',
  newestDeliveries: (shown: number) => `Only the newest ${shown} are listed here.`,
  allDeliveries: 'All deliveries of this event',
  result: 'Result',
  delivery: 'Delivery',
  notMatched: 'Not matched:',
  wholeFilter: 'the whole filter',
  selects: 'It selects',
  filterChanged: 'The filter was changed since: it matches now.',
  moreConsidered: 'Show more subscriptions',
  source: 'Source',
  sources: { NATS: 'NATS', GRAPHQL: 'GraphQL', TEST: 'Test event', ENGINE: 'The engine' },
  size: 'Size',
  view: 'View of the data',
  tree: 'Tree',
  exact: 'Exact bytes',
  marked: (endpoint: string) => `Marked: the values that the filter of ${endpoint} does not match.`,
  markFor: 'Mark in the data',
  /** The name of an action of a row for screen readers. */
  of: (action: string, endpoint: string) => `${action}: ${endpoint}`,
  editFilter: 'Edit the filter',
  deliverAnyway: 'Deliver anyway',
  deliverTitle: 'Deliver to this subscription anyway',
  deliverHint: (type: string, endpoint: string) =>
    `Creates a delivery of this ${type} event to ${endpoint}, whatever its event types and filter are. It is signed, limited and retried like any other delivery.`,
  deliver: 'Deliver',
  delivered: 'The delivery was created.',
  alreadyPending: 'A delivery of this event to the subscription is pending already.',
} as const;

export const eventsWords = {
  title: 'Events',
  label: 'Events, newest first',
  empty: 'No event yet',
  emptyHint: 'Services publish events to NATS or over GraphQL.',
  publishHint: 'Services publish events to NATS or over GraphQL. Publish one:',
} as const;

export const deliverTheseWords = {
  deliver: (events: number) => (events === 1 ? 'Deliver this event' : `Deliver these ${count(events)} events`),
  delivered: (deliveries: number) =>
    `${deliveries === 1 ? 'One delivery was' : `${count(deliveries)} deliveries were`} created.`,
} as const;

export const lastEventsWords = {
  none: 'No event of this type is stored.',
} as const;
