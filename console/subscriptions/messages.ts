import { count } from '../ui/format.ts';

export const subscriptionsWords = {
  title: 'Subscriptions',
  label: 'Webhook subscriptions, newest first',
  all: 'All',
  active: 'Active',
  inactive: 'Inactive',
  failing: 'Failing',
  paused: 'Paused',
  search: 'Search URL or description',
  create: 'Create',
  eventTypes: 'Event types',
  description: 'Description',
  changed: 'Changed',
  empty: 'No webhook subscription',
  emptyHint: 'A webhook subscription sends the events of a tenant to an endpoint.',
  createHint: 'The button “Create” creates one.',
  commandHint: 'So does this command:',
} as const;

export const subscriptionWords = {
  title: 'Webhook subscription',
  notFound: 'There is no webhook subscription with this id',
  notFoundHint: 'It was deleted, or belongs to another tenant.',
  description: 'Description',
  eventTypes: 'Event types',
  headers: 'Custom headers',
  limits: 'Limits',
  changed: 'Changed',
  timeout: (ms: number) => `${ms / 1_000} s for an attempt`,
  inFlight: (attempts: number) => `${attempts} in flight`,
  rateLimit: (rate: number) => `${rate} a second`,
  noRateLimit: 'no rate limit',
  ms: (ms: number) => `${count(Math.round(ms))} ms`,
  lastDay: (attempts: number, failures: number) =>
    attempts === 0
      ? 'No attempt in the last 24 hours'
      : `${count(attempts - failures)} succeeded, ${count(failures)} failed in the last 24 hours`,
  successRate: 'Success rate',
  attempts: 'Attempts',
  byType: 'By event type',
  byCode: 'Failures by status code',
  byReason: 'Failures by reason',
  code: 'Status code',
  noResponse: 'no response',
  failed: 'Failed',
  filter: 'Payload filter',
  filterHint: 'The data of an event must match it.',
  noFilter: 'Events of these types are delivered whatever their data is.',
  tryFilter: 'Try on real events',
  deliveries: 'Newest deliveries',
  inactiveHint: 'Events create no deliveries while the subscription is inactive.',
  noDeliveries: 'A delivery is created for each event that matches. Send a test event to try the endpoint.',
  allDeliveries: 'All deliveries',
  watch: 'Live log',
  pending: 'Pending',
  pendingSince: (number: string, time: string) => `${number}, the oldest ${time}`,
  lastSuccess: 'Last success',
  lastAttempt: 'Last attempt',
  willDeactivate: 'Deactivation',
  never: 'never',
  test: 'Send test',
  edit: 'Edit',
  activate: 'Activate',
  deactivate: 'Deactivate',
  deactivateHint: (pending: Pending) =>
    `${pendingInWords(pending)} cancelled, and events create no more deliveries until it is activated again. To keep them, pause it instead.`,
  pause: 'Pause',
  resume: 'Resume',
  probe: 'Probe now',
  probing: 'The next delivery is sent as a probe.',
  replay: 'Replay',
  pauseHint: 'Deliveries are created and wait. After the pause they are sent within the limits of the subscription.',
  pauseFor: 'Pause for',
  pauseHours: (hours: number) => (hours === 1 ? '1 hour' : hours <= 24 ? `${hours} hours` : `${hours / 24} days`),
  delete: 'Delete',
  typeHost: (host: string) => `Type ${host} to confirm`,
  deleteHint: (pending: Pending) =>
    `${pendingInWords(pending)} cancelled. Its delivery log is kept. This cannot be undone.`,
  state: {
    active: 'Active',
    inactive: 'Inactive',
    open: 'Circuit open',
    paused: 'Paused',
    until: (time: string) => `ends ${time}`,
    failing: 'Failing',
    nextProbe: (wait: string) => `only probes, next in ${wait}`,
    probeDue: 'only probes; the next delivery is a probe',
    failingFor: (time: string) => `for ${time}`,
    byUser: 'a user deactivated it',
    deactivated: { GONE: 'the endpoint answered 410 Gone', FAILING: 'it failed for five days' },
  },
} as const;

export const subscriptionFormWords = {
  createTitle: 'Create a webhook subscription',
  create: 'Create',
  tenant: 'Tenant',
  url: 'URL',
  urlHint: 'HTTPS; private and special addresses are refused.',
  description: 'Description',
  eventTypes: 'Event types',
  eventTypesHint: 'Such as order.paid, order.* or *, one on each line.',
  filter: 'Payload filter',
  filterHint: 'JSON, such as {"total": {"$gt": 100}}. Empty: every event of these types.',
  headers: 'Custom headers',
  headersHint: 'Sent with every request. Values are encrypted and never shown again.',
  headerName: (row: number) => `Name of header ${row}`,
  headerValue: (row: number) => `Value of header ${row}`,
  name: 'Name',
  value: 'Value',
  keepsValue: 'Empty keeps the stored value',
  addHeader: 'Add a header',
  removeHeader: (name: string, row: number) => `Remove header ${name === '' ? row : name}`,
  timeoutMs: 'Time limit in ms',
  maxInFlight: 'In flight',
  rateLimitPerSecond: 'Rate per second',
  noLimit: 'no limit',
  notANumber: 'This is not a whole number.',
  created: 'The subscription was created',
  openCreated: 'Open the subscription',
  secret: 'Signing secret',
  secretHint: 'It is shown once. Put it into the configuration of the receiver, which verifies requests with it.',
} as const;

export const missedEventsWords = {
  title: 'Missed events',
  none: (scope: Examined) => {
    if (scope.events === 0) return 'No event was missed.';
    if (scope.events === 1)
      return `${eventsOf(scope)} was not missed: it has a delivery to this subscription, or does not match it.`;
    return `None of ${eventsOf(scope)} was missed: each has a delivery to this subscription, or does not match it.`;
  },
  missed: (events: number, scope: Examined) => {
    const missed =
      scope.events === 1 ? eventsOf(scope) : `${events === 1 ? 'One' : count(events)} of ${eventsOf(scope)}`;
    const have = events === 1 ? 'matches this subscription and has' : 'match this subscription and have';
    return `${missed} ${have} no delivery to it: it was inactive or had other settings.`;
  },
  ended: 'Deliveries that failed or were cancelled are not among them: a replay sends their events again.',
  older: (time: string) => `Events before ${time} are not examined yet.`,
  all: 'Older events of its types were published before the subscription was created, or are no longer kept.',
  lookBack: 'Look further back',
} as const;

/** The events that were examined: the latest, or those before a time. A single one begins a sentence. */
type Examined = { readonly events: number; readonly before: string | undefined };

function eventsOf({ events, before }: Examined): string {
  if (before === undefined) return events === 1 ? 'The latest event' : `the latest ${count(events)} events`;
  return events === 1 ? `The event before ${before}` : `the ${count(events)} events before ${before}`;
}

export const secretsWords = {
  title: 'Signing secrets',
  hint: 'Each request is signed with all of them.',
  hintOfSeveral: 'Each request is signed with all of them, so a success does not show which of them the receiver used.',
  current: 'Current',
  overlap: 'Also signs',
  ends: 'Ends in',
  usage: 'Attempts signed with it',
  expire: 'End now',
  expireTitle: 'End the overlap',
  expireHint: 'Requests are no longer signed with this secret. A receiver that still verifies with it rejects them.',
  rotate: 'Rotate',
  rotated: 'The secret was rotated',
  newSecret: 'New signing secret',
  shownOnce: 'It is shown once. Until the overlap ends, requests are signed with the old secret as well.',
  copySnippet: 'Copy verification code',
  overlapLabel: 'Time in which the old secrets also sign',
  overlapHint: 'Time to put the new secret into the receiver.',
  overlapOf: (seconds: number) =>
    ({ 0: 'none: they stop at once', 3600: '1 hour', 86400: '24 hours', 604800: '7 days' })[seconds] ?? `${seconds} s`,
} as const;

type Usage = { readonly attemptCount: number; readonly successCount: number; readonly isExact: boolean };

/** How many of the attempts that a secret signed succeeded: "412 of the last 1,000 succeeded". */
export function usageInWords({ attemptCount, successCount, isExact }: Usage): string {
  if (attemptCount === 0) return 'None yet';
  if (attemptCount === 1 && isExact) return successCount === 1 ? 'One, which succeeded' : 'One, which failed';
  const part = successCount === attemptCount ? 'All' : successCount === 0 ? 'None' : count(successCount);
  return `${part} of ${isExact ? '' : 'the last '}${count(attemptCount)} succeeded`;
}

export const sendTestWords = {
  title: 'Send a test event',
  hint: 'One attempt is made, whatever the event types, the filter, the circuit and the limits are.',
  eventType: 'Event type',
  data: 'Data',
  dataHint: 'JSON. Empty: an example.',
  lastEvent: 'Use the last event',
  send: 'Send',
  sending: 'Waiting for the answer',
  notYet: 'There is no answer yet.',
  open: 'Open the delivery',
} as const;

type Pending = { readonly pendingCount: number; readonly isExact: boolean };

function pendingInWords({ pendingCount, isExact }: Pending): string {
  if (!isExact) return `More than ${count(pendingCount)} pending deliveries are`;
  return pendingCount === 1 ? 'One pending delivery is' : `${count(pendingCount)} pending deliveries are`;
}
