import { MAX_PENDING, type TenantFigures } from '../delivery-log/tenant-figures.ts';
import { type InputProblem, InvalidInputError } from '../lib/errors.ts';
import { builder } from './builder.ts';
import { PAGE_BY_NAME } from './page.ts';

const FiguresType = builder.objectRef<TenantFigures>('TenantFigures').implement({
  description: "A tenant's webhook subscriptions, without deleted ones, their pending deliveries, and its last event.",
  authScopes: { admin: true },
  fields: (t) => ({
    subscriptionCount: t.exposeInt('subscriptionCount', { description: 'The number of webhook subscriptions.' }),
    failingCount: t.exposeInt('failingCount', {
      description: 'The number of webhook subscriptions with a failure since their last success.',
    }),
    openCircuitCount: t.exposeInt('openCircuitCount', {
      description: 'The number of webhook subscriptions whose circuit is open.',
    }),
    pendingCount: t.exposeInt('pendingCount', {
      description: `The number of their pending deliveries, counted up to ${MAX_PENDING.toLocaleString('en')}.`,
    }),
    isExact: t.exposeBoolean('isExact', {
      description: 'Whether every pending delivery was counted. If not, there are more than `pendingCount`.',
    }),
    lastEventAt: t.expose('lastEventAt', {
      type: 'DateTime',
      nullable: true,
      description: 'The time at which the last event was recorded; null without events.',
    }),
  }),
});

export const TenantType = builder.prismaObject('Tenant', {
  description: 'A customer of the platform that has had a webhook subscription.',
  authScopes: { admin: true },
  select: { name: true },
  fields: (t) => ({
    name: t.string({ resolve: ({ name }) => name }),
    figures: t.field({
      type: FiguresType,
      complexity: 50,
      description: "The tenant's webhook subscriptions, their pending deliveries, and its last event.",
      resolve: ({ name }, _args, { tenantFigures }) => tenantFigures(name),
    }),
  }),
});

export const TenantFilterInput = builder.inputType('TenantFilter', {
  description: 'A filter for tenants.',
  fields: (t) => ({ search: t.string({ description: 'A part of the name, without regard to case.' }) }),
});

const Edge = builder.edgeObject({ name: 'TenantEdge', type: TenantType });
const Connection = builder.connectionObject({ name: 'TenantConnection', type: TenantType }, Edge);

const SEARCH = /^[A-Za-z0-9_-]{0,64}$/;

/** Returns the text that a tenant's name must contain; empty: every name matches. Throws an InvalidInputError. */
export function readSearch(
  filter: { readonly search?: string | null | undefined } | null | undefined,
  others: readonly InputProblem[] = [],
): string {
  const search = filter?.search ?? '';
  const problems = [
    ...others,
    ...(SEARCH.test(search) ? [] : [{ path: 'filter.search', message: 'is not a part of the name of a tenant' }]),
  ];
  if (problems.length > 0) throw new InvalidInputError(problems);
  return search;
}

builder.queryFields((t) => ({
  tenant: t.prismaField({
    type: TenantType,
    nullable: true,
    authScopes: { admin: true },
    description: 'The tenant of this name; null if it has never had a webhook subscription. Requires the scope ADMIN.',
    args: { name: t.arg.string({ required: true, description: 'The name of the tenant.' }) },
    resolve: (query, _root, { name }, { services }) =>
      // Postgres cannot store a NUL in text.
      name.includes('\0') ? null : services.database.prisma.tenant.findUnique({ ...query, where: { name } }),
  }),
  tenants: t.prismaConnection(
    {
      type: TenantType,
      ...PAGE_BY_NAME,
      authScopes: { admin: true },
      description: 'The tenants that have had a webhook subscription, sorted by name. Requires the scope ADMIN.',
      args: { filter: t.arg({ type: TenantFilterInput, description: 'The tenants to return. Default: all.' }) },
      resolve: (query, _root, { filter }, { services }) => {
        const search = readSearch(filter);
        // Prisma creates a LIKE without escaping.
        const contains = search.replaceAll('_', '\\_');
        return services.database.prisma.tenant.findMany({
          ...query,
          where: { name: { contains, mode: 'insensitive' } },
          orderBy: { name: 'asc' },
        });
      },
    },
    Connection,
  ),
}));
