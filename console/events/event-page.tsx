import { useMemo } from 'react';
import { useQuery } from 'urql';
import { EventDetailsDocument, type EventDetailsQuery, FailedPathsDocument } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { CopyButton } from '../ui/copy.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { Facts } from '../ui/facts.tsx';
import { Id } from '../ui/id.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { Link } from '../ui/link.tsx';
import { ConsideredOutcome, DeliveryOutcome } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { ExactTime, Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import styles from './event-page.module.css';
import { dataPaths } from './failed-paths.ts';

const words = messages.event;
const columns = messages.columns;

type EventDetails = NonNullable<EventDetailsQuery['event']>;
type Considered = EventDetails['considered']['nodes'][number];

/** One event: its data, the subscriptions that were considered, each with the reason, and its deliveries. */
export function EventPage() {
  const [params] = useUrlParams();
  const [id, tenant] = [params.get('id') ?? '', params.get('tenant')];
  const [{ data, error, fetching }] = useQuery({
    query: EventDetailsDocument,
    variables: { id, ...(tenant !== null && { tenant }) },
  });
  const event = data?.event;
  if (event == null) {
    return (
      <>
        <PageTitle title={words.title} />
        <ObjectState error={error} isLoading={fetching} title={words.notFound}>
          {words.notFoundHint}
        </ObjectState>
      </>
    );
  }
  const json = JSON.stringify(event.data, undefined, 2);
  return (
    <>
      <PageTitle title={visibleLine(event.type)}>
        <CopyButton text={json}>{messages.copyJson}</CopyButton>
      </PageTitle>
      <Facts
        facts={[
          { name: columns.id, value: <Id value={event.id} length={40} /> },
          { name: columns.tenant, value: visibleLine(event.tenant) },
          { name: words.occurred, value: <ExactTime at={event.occurredAt} /> },
          { name: words.recorded, value: <ExactTime at={event.createdAt} /> },
        ]}
      />
      <div className={styles.parts}>
        <ConsideredSection event={event} />
        <Section title={words.data}>
          <JsonView value={event.data} label={words.data} />
        </Section>
        <DeliveriesSection event={event} />
      </div>
    </>
  );
}

function ConsideredSection({ event }: { readonly event: EventDetails }) {
  const rows = event.considered.nodes;
  return (
    <Section title={words.considered} hint={rows.length === 0 ? words.noneConsidered : words.consideredHint}>
      {rows.length > 0 && (
        <Table
          label={words.considered}
          head={[words.result, columns.endpoint, columns.reason, words.delivery]}
          rows={rows.map((row) => ({
            key: row.subscription.id,
            cells: [
              <ConsideredOutcome key="result" result={row.result} />,
              <Link key="endpoint" to={paths.subscription(row.subscription.id)}>
                <Endpoint url={row.subscription.url} />
              </Link>,
              <Reason key="reason" row={row} data={event.data} type={event.type} />,
              row.delivery == null ? (
                messages.none
              ) : (
                <Link key="delivery" to={paths.delivery(row.delivery.id)}>
                  <DeliveryOutcome {...row.delivery} />
                </Link>
              ),
            ],
          }))}
        />
      )}
    </Section>
  );
}

function Reason({ row, data, type }: { readonly row: Considered; readonly data: unknown; readonly type: string }) {
  const text = messages.considered[row.result].reason;
  if (row.result === 'FILTER_FALSE' && row.subscription.filter != null) {
    return <FailedPaths filter={row.subscription.filter} data={data} />;
  }
  if (row.result === 'TYPE_MISMATCH') {
    return (
      <span title={visibleLine(type)}>
        {words.wants} <code>{row.subscription.eventTypes.map(visibleLine).join(', ')}</code>
      </span>
    );
  }
  return <>{text}</>;
}

/** The conditions of the filter, as it is now, that the data does not match. */
function FailedPaths({ filter, data }: { readonly filter: unknown; readonly data: unknown }) {
  const [result] = useQuery({ query: FailedPathsDocument, variables: { filter, data } });
  const failed = useMemo(() => result.data?.testFilter.failedPaths ?? [], [result.data]);
  if (result.data === undefined) return <>{messages.considered.FILTER_FALSE.reason}</>;
  if (result.data.testFilter.matches) return <>{words.filterChanged}</>;
  return (
    <>
      {words.notMatched} <code>{dataPaths(failed).map(visibleLine).join(', ')}</code>
    </>
  );
}

function DeliveriesSection({ event }: { readonly event: EventDetails }) {
  const rows = event.deliveries.nodes;
  if (rows.length === 0) return null;
  return (
    <Section title={words.deliveries}>
      <Table
        label={words.deliveries}
        head={[columns.status, columns.endpoint, columns.attempts, columns.created]}
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
    </Section>
  );
}
