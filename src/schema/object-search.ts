import { deliveriesWhere, subscriptionsWhere, tenantWhere } from '../auth/viewer.ts';
import { isUuid } from '../lib/uuid7.ts';
import { NEWEST_FIRST } from '../postgres/keyset.ts';
import { ApiKeyType } from './api-key.ts';
import { AttemptType } from './attempt.ts';
import { AuditEntryType } from './audit-log.ts';
import { builder } from './builder.ts';
import { DeliveryType } from './delivery.ts';
import { DeliveryJobType, WHERE_DELIVERY_JOB } from './delivery-job.ts';
import { ErasureType, WHERE_TENANT_ERASURE } from './erasure.ts';
import { EventType, eventWithId, RejectedEventType } from './event.ts';
import { CataloguedType } from './event-type.ts';
import { ReplayType, WHERE_REPLAY } from './replay.ts';
import { SessionType } from './session.ts';
import { TenantType } from './tenant.ts';
import { WebhookSubscriptionType } from './webhook-subscription.ts';

/** Options of a field that is null for a session that is restricted to some subscriptions. */
const OF_TENANT = { authScopes: { wholeTenant: true }, unauthorizedResolver: () => null } as const;
/** Options of a field that is null without the scope ADMIN. */
const OF_ADMINS = { authScopes: { admin: true }, unauthorizedResolver: () => null } as const;

const SearchResultType = builder.objectRef<{ readonly text: string }>('SearchResult').implement({
  description:
    'The objects with an id or a name. A field is null if there is none, or if it belongs to another tenant.',
  fields: (t) => ({
    webhookSubscription: t.prismaField({
      type: WebhookSubscriptionType,
      nullable: true,
      description: 'The webhook subscription with this id, even if it has been deleted.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.webhookSubscription.findFirst({
              ...query,
              where: { id: text, ...subscriptionsWhere(viewer) },
            })
          : null,
    }),
    webhookSubscriptionOfSecret: t.prismaField({
      type: WebhookSubscriptionType,
      nullable: true,
      description: 'The webhook subscription whose signing secret has this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.webhookSubscription.findFirst({
              ...query,
              where: { secrets: { some: { id: text } }, ...subscriptionsWhere(viewer) },
            })
          : null,
    }),
    delivery: t.prismaField({
      type: DeliveryType,
      nullable: true,
      description: 'The delivery with this id, as in `webhook-delivery`.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.delivery.findFirst({ ...query, where: { id: text, ...deliveriesWhere(viewer) } })
          : null,
    }),
    attempt: t.prismaField({
      type: AttemptType,
      nullable: true,
      description: 'The attempt with this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.attempt.findFirst({ ...query, where: { id: text, ...deliveriesWhere(viewer) } })
          : null,
    }),
    event: t.prismaField({
      type: EventType,
      nullable: true,
      ...OF_TENANT,
      description:
        "The event with this publisher's id, as in `webhook-id`; the newest one if several tenants have an event with this id.",
      resolve: async (query, { text }, _args, { services, viewer }) => {
        const where = await eventWithId(services.database, { eventId: text, ...tenantWhere(viewer) });
        return where && services.database.prisma.event.findFirst({ ...query, where, orderBy: NEWEST_FIRST });
      },
    }),
    rejectedEvent: t.prismaField({
      type: RejectedEventType,
      nullable: true,
      ...OF_TENANT,
      description: 'The rejected event with this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.rejectedEvent.findFirst({ ...query, where: { id: text, ...tenantWhere(viewer) } })
          : null,
    }),
    replay: t.prismaField({
      type: ReplayType,
      nullable: true,
      ...OF_TENANT,
      description: 'The replay with this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.replay.findFirst({
              ...query,
              where: { id: text, ...WHERE_REPLAY, ...tenantWhere(viewer) },
            })
          : null,
    }),
    deliveryJob: t.prismaField({
      type: DeliveryJobType,
      nullable: true,
      ...OF_TENANT,
      description: 'The job on deliveries with this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.replay.findFirst({
              ...query,
              where: { id: text, ...WHERE_DELIVERY_JOB, ...tenantWhere(viewer) },
            })
          : null,
    }),
    auditEntry: t.prismaField({
      type: AuditEntryType,
      nullable: true,
      ...OF_TENANT,
      description: 'The entry of the audit log with this id.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.auditEntry.findFirst({ ...query, where: { id: text, ...tenantWhere(viewer) } })
          : null,
    }),
    session: t.field({
      type: SessionType,
      nullable: true,
      // The permission that is required to end a session. The audit log shows the same data of a session.
      authScopes: { issueSessions: true },
      unauthorizedResolver: () => null,
      description:
        'The session with this id, until it is deleted; always null for a credential that cannot create sessions.',
      resolve: ({ text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.apiKey.findFirst({
              where: { id: text, kind: { not: 'KEY' }, ...tenantWhere(viewer) },
            })
          : null,
    }),
    apiKey: t.prismaField({
      type: ApiKeyType,
      nullable: true,
      ...OF_ADMINS,
      description: 'The API key with this id, even if it has been revoked; always null without the scope ADMIN.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.apiKey.findFirst({
              ...query,
              where: { id: text, kind: 'KEY', ...tenantWhere(viewer) },
            })
          : null,
    }),
    erasure: t.prismaField({
      type: ErasureType,
      nullable: true,
      ...OF_ADMINS,
      description: 'The erasure of a tenant with this id; always null without the scope ADMIN.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        isUuid(text)
          ? services.database.prisma.erasure.findFirst({
              ...query,
              where: { id: text, ...WHERE_TENANT_ERASURE, ...tenantWhere(viewer) },
            })
          : null,
    }),
    eventType: t.prismaField({
      type: CataloguedType,
      nullable: true,
      description: 'The entry of the event catalogue with this name.',
      resolve: (query, { text }, _args, { services }) =>
        text.includes('\0') ? null : services.database.prisma.eventType.findUnique({ ...query, where: { name: text } }),
    }),
    tenant: t.prismaField({
      type: TenantType,
      nullable: true,
      description: 'The tenant with this name; always null without the scope ADMIN.',
      resolve: (query, { text }, _args, { services, viewer }) =>
        viewer.scope === 'ADMIN' && !text.includes('\0')
          ? services.database.prisma.tenant.findUnique({ ...query, where: { name: text } })
          : null,
    }),
  }),
});

builder.queryField('search', (t) =>
  t.field({
    type: SearchResultType,
    description: 'Finds any object by its id, or by its name.',
    args: {
      text: t.arg.string({ required: true, description: 'The whole id or name. Spaces around it are ignored.' }),
    },
    resolve: (_root, { text }) => ({ text: text.trim() }),
  }),
);
