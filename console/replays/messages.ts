import { count } from '../ui/format.ts';

export const replaysWords = {
  title: 'Replays',
  one: 'Replay',
  label: 'Replays, newest first',
  notFound: 'There is no replay with this id',
  notFoundHint: 'It belongs to another tenant, or is no longer kept.',
  deliveries: 'Deliveries',
  progress: 'Progress',
  of: (done: string, all: string) => `${done} of ${all}`,
  counts: (deliveries: number) => `${count(deliveries)} counted`,
  created: 'Replayed',
  skipped: 'Skipped',
  wouldSkip: (deliveries: number, reasons: string) =>
    deliveries === 1
      ? `One of them would be skipped: ${reasons}.`
      : `${count(deliveries)} of them would be skipped: ${reasons}.`,
  sample: 'Newest counted deliveries',
  outcome: 'Outcome',
  outcomeOf: (status: string, deliveries: number, isExact: boolean) =>
    `${count(deliveries)}${isExact ? '' : ' or more'} ${status}`,
  all: 'All',
  rate: 'Deliveries a second',
  perSecond: (rate: number) => `${count(rate)} a second`,
  changeRate: 'Change the rate',
  changeRateHint: 'From 1 to 1,000. The new rate applies within about a second.',
  started: 'Started',
  cancel: 'Cancel replay',
  start: 'Start a replay',
  startHint: 'Sends the events of past deliveries once more to their subscriptions. The deliveries are counted first.',
  period: 'Created in the',
  lastHours: (hours: number) =>
    hours === 1 ? 'last hour' : hours <= 24 ? `last ${hours} hours` : `last ${hours / 24} days`,
  types: 'Event types',
  typesHint: 'Such as order.paid or order.*. Empty: all.',
  subscription: 'Id of a subscription',
  subscriptionHint: 'Empty: all of the tenant.',
  count: 'Count the deliveries',
  counted: (deliveries: number) =>
    `${deliveries === 1 ? 'One delivery matches' : `${count(deliveries)} deliveries match`}. Nothing has changed yet.`,
  noneHint:
    'Deliveries that a deactivation cancelled have the status Cancelled. Events that were published while a subscription was inactive have none: “Missed events” on its page delivers them.',
  startCounted: (deliveries: number) =>
    deliveries === 1 ? 'Replay one delivery' : `Replay ${count(deliveries)} deliveries`,
  empty: 'No replay yet',
  emptyHint: 'A replay sends the events of past deliveries again, for example after an endpoint was fixed.',
  failedDeliveries: 'See the failed deliveries',
} as const;

type Skips = { readonly duplicate: number; readonly inactive: number; readonly withoutEvent: number };

/** The reasons why deliveries of a replay were skipped: "2 of an inactive or deleted subscription". */
export function skippedInWords({ duplicate, inactive, withoutEvent }: Skips): string {
  const reasons: readonly (readonly [number, string])[] = [
    [inactive, 'of an inactive or deleted subscription'],
    [withoutEvent, 'of an event that is no longer kept'],
    [duplicate, 'of an event that another delivery of the replay sends'],
  ];
  return reasons
    .filter(([number]) => number > 0)
    .map(([number, reason]) => `${count(number)} ${reason}`)
    .join(', ');
}

export const replayFilterWords = {
  statuses: { SUCCESS: 'succeeded', FAILURE: 'failed', PENDING: 'pending', CANCELLED: 'cancelled' } as Readonly<
    Record<string, string>
  >,
  deliveries: (statuses: readonly string[]) => `${statuses.length === 0 ? 'all' : statuses.join(' or ')} deliveries`,
  ofTypes: (types: readonly string[]) => `of ${types.join(', ')}`,
  toSubscriptions: (ids: readonly string[]) => `to ${ids.length === 1 ? ids[0] : `${ids.length} subscriptions`}`,
  from: (time: string) => `from ${time}`,
  until: (time: string) => `until ${time}`,
  other: (name: string, value: string) => `, ${name} ${value}`,
} as const;
