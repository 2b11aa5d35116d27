import { AnySubscriptionDocument, WatchSubscriptionsDocument } from '../generated/graphql.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { useExamples } from '../shell/examples.ts';
import { Link } from '../ui/link.tsx';
import { EmptyState } from '../ui/states.tsx';

const words = messages.nothingSent;

/** Nothing was sent yet: the next step is the first subscription, and after that the first event. */
export function NothingSent({ title }: { readonly title: string }) {
  const { canWrite, seesAllSubscriptions } = useViewer();
  const examples = useExamples();
  const ofTenant = useTenantFilter();
  const [{ data }] = useWatchedQuery({
    query: AnySubscriptionDocument,
    variables: ofTenant,
    streams: (_, changed) => [
      changeStream({ document: WatchSubscriptionsDocument, filter: ofTenant, onChange: changed }),
    ],
    collectMs: 0,
  });
  if (data === undefined || data.webhookSubscriptions.nodes.length > 0) {
    return (
      <EmptyState title={title} command={data && examples?.publish}>
        {data && examples !== undefined ? words.publish : words.hint}
      </EmptyState>
    );
  }
  const canCreate = canWrite && seesAllSubscriptions;
  return (
    <EmptyState title={title} command={examples?.subscribe}>
      {words.noSubscription} {canCreate ? <Link to={paths.subscriptions()}>{words.create}</Link> : words.cannotCreate}
      {examples === undefined ? canCreate && '.' : ` ${words.orRun}`}
    </EmptyState>
  );
}
