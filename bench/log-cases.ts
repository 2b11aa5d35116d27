import type { Stack } from './stack.ts';

type Page = { readonly first: number; readonly after: string | undefined };
type Connection = { readonly pageInfo: { readonly hasNextPage: boolean; readonly endCursor: string | null } };

export type PageCase = {
  readonly name: string;
  readonly ask: (graphql: Stack['graphql'], page: Page) => Promise<Connection>;
};

export type StatsCase = {
  readonly name: string;
  readonly filter: object;
  readonly days: number;
  readonly bucket: 'MINUTE' | 'HOUR' | 'DAY';
};

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

type Ids = { readonly busiest: string; readonly ten: readonly string[]; readonly event: string };

type Case = readonly [name: string, filter: object];

/** Typical queries of the log. The tenant `big` has 60 % of the rows, `small-7` one in 5,000. */
export function pagesOf({ busiest, ten, event }: Ids): PageCase[] {
  const past = { from: new Date(Date.now() - 15 * DAY_MS), to: new Date(Date.now() - 14 * DAY_MS) };
  const cases: readonly Case[] = [
    ['all tenants', {}],
    ['tenant with 60 %', { tenant: 'big' }],
    ['small tenant', { tenant: 'small-7' }],
    ['subscription', { subscriptionIds: [busiest] }],
    ['10 subscriptions', { tenant: 'big', subscriptionIds: ten }],
    ['event type', { tenant: 'big', eventTypes: ['order.paid'] }],
    ['event type, 1 in 10,000', { tenant: 'big', eventTypes: ['audit.exported'] }],
    ['prefix', { tenant: 'big', eventTypes: ['conversation.*'] }],
    ['prefix, 1 in 10,000', { tenant: 'big', eventTypes: ['audit.*'] }],
    ['FAILURE, 2 %', { tenant: 'big', statuses: ['FAILURE'] }],
    ['FAILURE, all tenants', { statuses: ['FAILURE'] }],
    ['FAILURE, subscription', { subscriptionIds: [busiest], statuses: ['FAILURE'] }],
    ['PENDING, 1 in 10,000', { tenant: 'big', statuses: ['PENDING'] }],
    ['500 to 599, 1.5 %', { tenant: 'big', statusCodes: [{ from: 500, to: 599 }] }],
    ['404, none', { tenant: 'big', statusCodes: [{ from: 404, to: 404 }] }],
    ['201, none', { tenant: 'big', statusCodes: [{ from: 201, to: 201 }] }],
    ['TLS_FAILURE, 1 in 10,000', { tenant: 'big', failureReasons: ['TLS_FAILURE'] }],
    ['TLS_FAILURE, all tenants', { failureReasons: ['TLS_FAILURE'] }],
    ['a day two weeks ago', { tenant: 'big', ...past }],
    ['FAILURE of that day', { tenant: 'big', statuses: ['FAILURE'], ...past }],
    ['the last minute', { tenant: 'big', from: new Date(Date.now() - 60_000) }],
    ['subscription, a day two weeks ago', { subscriptionIds: [busiest], ...past }],
    ['subscription, the last minute', { subscriptionIds: [busiest], from: new Date(Date.now() - 60_000) }],
    ['subscription, event type', { tenant: 'big', subscriptionIds: [busiest], eventTypes: ['order.paid'] }],
  ];
  const ofAttempts: readonly Case[] = [
    ['1 s and more, 0.5 %', { tenant: 'big', minResponseTimeMs: 1_000 }],
    ['10 s and more, 1 in 10,000', { tenant: 'big', minResponseTimeMs: 10_000 }],
    ['retries, 2 %', { tenant: 'big', attemptNumbers: [2, 3] }],
    ['the tenth attempt, 1 in 10,000', { tenant: 'big', attemptNumbers: [10] }],
  ];
  const ofDeliveries: readonly Case[] = [
    ['an event', { tenant: 'big', eventIds: [event] }],
    ['BACKOFF, none', { tenant: 'big', waitingFor: ['BACKOFF'] }],
  ];
  const events = cases.filter(([, filter]) =>
    Object.keys(filter).every((key) => ['tenant', 'eventTypes', 'from', 'to'].includes(key)),
  );
  return [
    ...[...cases, ...ofAttempts].map(([name, filter]) =>
      pageCase(`deliveryLog: ${name}`, { field: 'deliveryLog', filter }),
    ),
    ...[...cases, ...ofDeliveries].map(([name, filter]) =>
      pageCase(`deliveries: ${name}`, { field: 'deliveries', filter }),
    ),
    ...events.map(([name, filter]) => pageCase(`events: ${name}`, { field: 'events', filter })),
    pageCase('events: an id', { field: 'events', filter: { tenant: 'big', ids: [event] } }),
  ];
}

export const STATS: readonly StatsCase[] = [
  { name: 'deliveryStats: tenant with 60 %, 28 DAYs', filter: { tenant: 'big' }, days: 28, bucket: 'DAY' },
  { name: 'deliveryStats: tenant with 60 %, 672 HOURs', filter: { tenant: 'big' }, days: 28, bucket: 'HOUR' },
  { name: 'deliveryStats: tenant with 60 %, a DAY in HOURs', filter: { tenant: 'big' }, days: 1, bucket: 'HOUR' },
  { name: 'deliveryStats: small tenant, 672 HOURs', filter: { tenant: 'small-7' }, days: 28, bucket: 'HOUR' },
  { name: 'deliveryStats: all tenants, 28 DAYs', filter: {}, days: 28, bucket: 'DAY' },
  {
    name: 'deliveryStats: event type and FAILURE, 28 DAYs',
    filter: { tenant: 'big', eventTypes: ['order.*'], statuses: ['FAILURE'] },
    days: 28,
    bucket: 'DAY',
  },
  { name: 'deliveryStats: tenant with 60 %, 60 MINUTEs', filter: { tenant: 'big' }, days: 1 / 24, bucket: 'MINUTE' },
  { name: 'deliveryStats: tenant with 60 %, 960 MINUTEs', filter: { tenant: 'big' }, days: 2 / 3, bucket: 'MINUTE' },
];

const FIELDS = {
  deliveryLog: ['DeliveryFilter', 'id number status statusCode failureReason responseTimeMs startedAt eventType'],
  deliveries: ['DeliveryFilter', 'id status attemptCount createdAt'],
  events: ['EventFilter', 'id type createdAt'],
} as const;

function pageCase(
  name: string,
  { field, filter }: { readonly field: keyof typeof FIELDS; readonly filter: object },
): PageCase {
  const [type, columns] = FIELDS[field];
  const query = `query ($filter: ${type}, $first: Int, $after: String) {
    page: ${field}(filter: $filter, first: $first, after: $after) {
      nodes { ${columns} } pageInfo { hasNextPage endCursor } } }`;
  return {
    name,
    ask: async (graphql, page) => (await graphql<{ page: Connection }>(query, { filter, ...page })).page,
  };
}
