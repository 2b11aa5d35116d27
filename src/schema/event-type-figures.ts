import { matchTenant, tenantWhere, type Viewer } from '../auth/viewer.ts';
import {
  type FiguresScope,
  MAX_EXAMINED_EVENTS,
  MAX_EXAMINED_TYPES,
  MAX_OBSERVED,
  MAX_OBSERVED_DAYS,
  MAX_SEARCHED_EVENTS,
  MAX_SUBSCRIPTIONS,
  observedEventTypes,
} from '../delivery-log/event-type-figures.ts';
import { InvalidInputError } from '../lib/errors.ts';
import { builder } from './builder.ts';
import { EventType } from './event.ts';
import { CataloguedType } from './event-type.ts';

const NUMBER = new Intl.NumberFormat('en');
const TENANT = {
  description: 'The tenant. Only the scope ADMIN can name any tenant; its default is all tenants.',
} as const;

const NULL_IF = `null without one, and for a session that is restricted to some webhook subscriptions. For all tenants together, only the latest ${NUMBER.format(MAX_SEARCHED_EVENTS)} events are searched.`;
/**
 * Options of fields about the last event. They are null for a session that is restricted to some subscriptions, because
 * the event may not have been sent to these.
 */
const OF_LAST_EVENT = {
  nullable: true,
  authScopes: { wholeTenant: true },
  unauthorizedResolver: () => null,
  complexity: 20,
} as const;

builder.prismaObjectFields(CataloguedType, (t) => ({
  subscriptionCount: t.int({
    nullable: true,
    complexity: 20,
    description: `The number of webhook subscriptions that select the type, by its name, a prefix or \`*\`, also inactive ones; null if there are more than ${NUMBER.format(MAX_SUBSCRIPTIONS)} webhook subscriptions.`,
    args: { tenant: t.arg.string(TENANT) },
    resolve: ({ name }, { tenant }, { viewer, eventTypeFigures }) =>
      eventTypeFigures.subscriptionCount(name, scopeOf(viewer, tenant)),
  }),
  lastEventAt: t.field({
    type: 'DateTime',
    ...OF_LAST_EVENT,
    description: `The time at which the last event of the type was recorded; ${NULL_IF}`,
    args: { tenant: t.arg.string(TENANT) },
    resolve: async ({ name }, { tenant }, { viewer, eventTypeFigures }) =>
      (await eventTypeFigures.lastEvent(name, scopeOf(viewer, tenant)))?.createdAt ?? null,
  }),
  example: t.field({
    type: EventType,
    ...OF_LAST_EVENT,
    description: `The last event of the type that was recorded; ${NULL_IF}`,
    args: { tenant: t.arg.string(TENANT) },
    resolve: ({ name }, { tenant }, { viewer, eventTypeFigures }) =>
      eventTypeFigures.lastEvent(name, scopeOf(viewer, tenant)),
  }),
}));

/** Throws an InvalidInputError if the viewer may not name the tenant. */
function scopeOf(viewer: Viewer, requestedTenant: string | null | undefined): FiguresScope {
  const { tenant, tenantProblem } = matchTenant(viewer, requestedTenant);
  if (tenantProblem !== undefined) throw new InvalidInputError([{ path: 'tenant', message: tenantProblem }]);
  return { tenant, subscriptionIds: viewer.subscriptionIds };
}

const DEFAULT_DAYS = 7;

builder.queryField('observedEventTypes', (t) =>
  t.stringList({
    complexity: 2_000,
    description: `The types of stored events that are not in the event catalogue, without those of the engine, sorted by name, at most ${MAX_OBSERVED}. Of all types that have events, the first ${NUMBER.format(MAX_EXAMINED_TYPES)} by name are examined, and for a tenant those of its latest ${NUMBER.format(MAX_EXAMINED_EVENTS)} events.`,
    args: {
      tenant: t.arg.string(TENANT),
      days: t.arg.int({
        defaultValue: DEFAULT_DAYS,
        description: `The age of the events, from 1 to ${MAX_OBSERVED_DAYS} days.`,
      }),
    },
    resolve: (_root, { tenant, days }, { viewer, services }) => {
      const where = tenantWhere(viewer, tenant);
      const age = days ?? DEFAULT_DAYS;
      if (age < 1 || age > MAX_OBSERVED_DAYS) {
        throw new InvalidInputError([{ path: 'days', message: `must be from 1 to ${MAX_OBSERVED_DAYS}` }]);
      }
      return observedEventTypes(services.database, { tenant: where.tenant, days: age });
    },
  }),
);
