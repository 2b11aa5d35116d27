import { useRef } from 'react';
import { useQuery } from 'urql';
import { erasuresWords } from '../erasures/messages.ts';
import { RedactEvent } from '../erasures/redact-event.tsx';
import {
  ConsideredPageDocument,
  type ConsideredPageQuery,
  EventDetailsDocument,
  type EventDetailsQuery,
  MarkedSubscriptionDocument,
  WatchDeliveriesDocument,
} from '../generated/graphql.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { type ChangeStream, changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Endpoint } from '../ui/endpoint.tsx';
import { Facts } from '../ui/facts.tsx';
import { bytes } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { Link } from '../ui/link.tsx';
import { DeliveryOutcome } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { usePages } from '../ui/use-pages.ts';
import { splitUrl, visibleLine } from '../ui/visible-text.ts';
import { type Considered, ConsideredSection, type EventDetails } from './considered-section.tsx';
import { EventData } from './event-data.tsx';
import styles from './event-page.module.css';
import { eventWords as words } from './messages.ts';
import { useFailedPaths } from './use-failed-paths.ts';

const columns = messages.columns;

/** One event: its data, the subscriptions that were considered, each with the reason, and its deliveries. */
export function EventPage() {
  const [params] = useUrlParams();
  const [id, tenant] = [params.get('id') ?? '', params.get('tenant')];
  return <EventOf key={`${tenant}\n${id}`} id={id} tenant={tenant} />;
}

function EventOf({ id, tenant }: { readonly id: string; readonly tenant: string | null }) {
  const [{ data, error, fetching }, refresh] = useWatchedQuery({
    query: EventDetailsDocument,
    variables: { id, ...(tenant !== null && { tenant }) },
    streams: streamsOf,
    collectMs: 0,
  });
  const event = data?.event;
  if (event == null) {
    return (
      <>
        <PageTitle title={words.title} />
        <ObjectState error={error} isLoading={fetching} title={words.notFound}>
          {words.notFoundHint}{' '}
          {!IS_PORTAL && <Link to={paths.rejectedEvents()}>{messages.navigation.rejectedEvents}</Link>}
        </ObjectState>
      </>
    );
  }
  return <Event event={event} onChange={refresh} />;
}

/** The changes of the deliveries of the event. */
function streamsOf({ event }: EventDetailsQuery, changed: () => void): readonly ChangeStream[] {
  if (event == null) return [];
  const { id, tenant, type } = event;
  return [
    changeStream({
      document: WatchDeliveriesDocument,
      filter: { tenant, eventTypes: [type] },
      onChange: ({ deliveryChanges }) => deliveryChanges.delivery.event?.id === id && changed(),
    }),
  ];
}

function Event({ event, onChange }: { readonly event: EventDetails; readonly onChange: () => void }) {
  const [params, setParams] = useUrlParams();
  const { canWrite } = useViewer();
  const data = useRef<HTMLDivElement>(null);
  const considered = usePages({
    query: ConsideredPageDocument,
    variables: { id: event.id, tenant: event.tenant },
    pageOf: consideredOf,
  });
  const marked = useMarked(considered.rows, params.get('marked'));
  const failed = useFailedPaths(event, marked?.filter);
  return (
    <>
      <PageTitle title={visibleLine(event.type)}>
        {canWrite && !IS_PORTAL && event.redactedAt == null && <RedactEvent event={event} onRedacted={onChange} />}
      </PageTitle>
      <EventFacts event={event} />
      <div className={styles.parts}>
        <div ref={data}>
          <EventData
            text={event.dataText ?? undefined}
            isRedacted={event.redactedAt != null}
            failedPaths={failed?.failedPaths}
            hint={
              marked === undefined || failed?.matches !== false
                ? undefined
                : words.marked(splitUrl(marked.url)?.host ?? visibleLine(marked.url))
            }
          />
        </div>
        <ConsideredSection
          event={event}
          considered={considered}
          markedId={marked?.id}
          onMark={(subscriptionId) => {
            setParams({ marked: subscriptionId });
            data.current?.scrollIntoView();
          }}
          onDelivered={() => {
            considered.refresh();
            onChange();
          }}
        />
        <DeliveriesSection event={event} />
      </div>
    </>
  );
}

function EventFacts({ event }: { readonly event: EventDetails }) {
  return (
    <Facts
      facts={[
        { name: columns.id, value: <Id value={event.id} /> },
        !IS_PORTAL && { name: columns.tenant, value: visibleLine(event.tenant) },
        { name: words.occurred, value: <ExactTime at={event.occurredAt} /> },
        { name: words.recorded, value: <ExactTime at={event.createdAt} /> },
        { name: words.source, value: words.sources[event.source] },
        // The size is that of the data, which was removed.
        event.redactedAt == null
          ? { name: words.size, value: bytes(event.sizeBytes) }
          : { name: erasuresWords.redacted, value: <ExactTime at={event.redactedAt} /> },
      ]}
    />
  );
}

/** The subscription whose filter is marked in the data: the chosen one, even if its row is not read yet, or the first. */
function useMarked(rows: readonly Considered[], chosenId: string | null) {
  const filtered = rows
    .filter(({ result, subscription: { filter } }) => result === 'FILTER_FALSE' && filter != null)
    .map(({ subscription }) => subscription);
  const known = filtered.find(({ id }) => id === chosenId);
  const isUnknown = chosenId !== null && known === undefined;
  const variables = { id: chosenId ?? '' };
  const [{ data }] = useQuery({ query: MarkedSubscriptionDocument, variables, pause: !isUnknown });
  const read = data?.webhookSubscription;
  return known ?? (isUnknown && read?.id === chosenId ? read : filtered[0]);
}

/** Returns an empty page if the event does not exist, for example because retention has deleted it. */
function consideredOf({ event }: ConsideredPageQuery) {
  return event?.considered ?? { nodes: [], pageInfo: { hasNextPage: false } };
}

function DeliveriesSection({ event }: { readonly event: EventDetails }) {
  const { nodes: rows, pageInfo } = event.deliveries;
  const { tenant } = useTenantFilter();
  if (rows.length === 0) return null;
  return (
    <Section title={words.deliveries}>
      <Table
        label={words.deliveries}
        head={[columns.status, columns.endpoint, columns.attempts, columns.created]}
        grow={columns.endpoint}
        numbers={[columns.attempts]}
        rows={rows.map((row) => ({
          key: row.id,
          cells: [
            <Link key="status" to={paths.delivery(row.id)}>
              <DeliveryOutcome {...row} />
            </Link>,
            <Endpoint key="endpoint" url={row.subscription.url} />,
            row.attemptCount,
            <Time key="created" at={row.createdAt} />,
          ],
        }))}
      />
      {pageInfo.hasNextPage && (
        <p className={styles.more}>
          {words.newestDeliveries(rows.length)}{' '}
          <Link
            to={paths.deliveries({ tenant: event.tenant, event: event.id })}
            isForEveryTenant={tenant !== event.tenant}
          >
            {words.allDeliveries}
          </Link>
        </p>
      )}
    </Section>
  );
}
