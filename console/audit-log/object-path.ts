import type { AuditRowFragment } from '../generated/graphql.ts';
import { paths } from '../paths.ts';

type Named = Pick<AuditRowFragment, 'objectType' | 'objectId' | 'tenant'>;

/** The path of the page of an entry's object; undefined if there is no page, or the viewer may not open it. */
export function objectPath({ objectType, objectId: id, tenant }: Named, isAdmin: boolean): string | undefined {
  if (id == null) return undefined;
  switch (objectType) {
    case 'WebhookSubscription':
      return paths.subscription(id);
    case 'Delivery':
      return paths.delivery(id);
    case 'Event':
      return tenant == null ? undefined : paths.event(tenant, id);
    case 'EventType':
      return paths.eventType(id);
    case 'Replay':
      return paths.replay(id);
    case 'DeliveryJob':
      return paths.job(id);
    case 'ApiKey':
      return isAdmin ? paths.keys(id) : undefined;
    default:
      return undefined;
  }
}
