import { useState } from 'react';
import type { ConsideredPageQuery, EventDetailsQuery } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { Button } from '../ui/button.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { Link } from '../ui/link.tsx';
import { ConsideredOutcome, DeliveryOutcome } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { ErrorState, SkeletonRows } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import type { Pages } from '../ui/use-pages.ts';
import { splitUrl, visibleLine } from '../ui/visible-text.ts';
import { DeliverAnyway } from './deliver-anyway.tsx';
import styles from './event-page.module.css';
import { conditionsOf } from './failed-paths.ts';
import { eventWords as words } from './messages.ts';
import { useFailedPaths } from './use-failed-paths.ts';

const columns = messages.columns;

export type EventDetails = NonNullable<EventDetailsQuery['event']>;
export type Considered = NonNullable<ConsideredPageQuery['event']>['considered']['nodes'][number];

type ConsideredProps = {
  readonly event: EventDetails;
  readonly considered: Pages<Considered>;
  /** The subscription whose failed conditions are marked in the data. */
  readonly markedId: string | undefined;
  readonly onMark: (subscriptionId: string) => void;
  readonly onDelivered: () => void;
};

/** The subscriptions of the tenant at the time of the event, with the reason for each (non-)delivery and its actions. */
export function ConsideredSection({ event, considered, onDelivered, ...marking }: ConsideredProps) {
  const { canWrite, seesAllSubscriptions, seesPayloads } = useViewer();
  const [chosen, setChosen] = useState<Considered>();
  const { rows, error, isLoading, loadMore } = considered;
  const hasPlayground = seesAllSubscriptions && seesPayloads;
  if (error !== undefined) return <ErrorState error={error} />;
  return (
    <Section
      title={words.considered}
      hint={
        rows.length === 0 && !isLoading
          ? `${words.noneConsidered(visibleLine(event.tenant))} ${IS_PORTAL ? '' : words.otherTenant}`
          : words.consideredHint
      }
    >
      {isLoading && <SkeletonRows count={2} />}
      {rows.length > 0 && (
        <Table
          label={words.considered}
          head={[words.result, columns.endpoint, columns.reason, words.delivery]}
          grow={columns.endpoint}
          rows={rows.map((row) => ({
            key: row.subscription.id,
            cells: [
              <ConsideredOutcome key="result" result={row.result} />,
              <Link key="endpoint" to={paths.subscription(row.subscription.id)}>
                <Endpoint url={row.subscription.url} />
              </Link>,
              <Reason key="reason" row={row} event={event} {...marking} />,
              row.delivery == null ? (
                <span key="actions" className={styles.actions}>
                  {hasPlayground && row.result === 'FILTER_FALSE' && row.subscription.deletedAt == null && (
                    <Link
                      to={paths.filter(row.subscription.id, event.id)}
                      aria-label={words.of(words.editFilter, hostOf(row))}
                    >
                      {words.editFilter}
                    </Link>
                  )}
                  {canWrite && event.redactedAt == null && canGetIt(row) && (
                    <Button
                      kind="quiet"
                      aria-label={words.of(words.deliverAnyway, hostOf(row))}
                      onClick={() => setChosen(row)}
                    >
                      {words.deliverAnyway}
                    </Button>
                  )}
                </span>
              ) : (
                <Link key="delivery" to={paths.delivery(row.delivery.id)}>
                  <DeliveryOutcome {...row.delivery} />
                </Link>
              ),
            ],
          }))}
        />
      )}
      {loadMore !== undefined && (
        <p className={styles.more}>
          <Button onClick={loadMore}>{words.moreConsidered}</Button>
        </p>
      )}
      {chosen !== undefined && (
        <DeliverAnyway
          event={event}
          subscription={chosen.subscription}
          onClose={() => setChosen(undefined)}
          onDelivered={onDelivered}
        />
      )}
    </Section>
  );
}

function hostOf({ subscription: { url } }: Considered): string {
  return splitUrl(url)?.host ?? visibleLine(url);
}

function canGetIt({ result, subscription: { isActive, deletedAt } }: Considered): boolean {
  return result !== 'DELIVERED_TO' && isActive && deletedAt == null;
}

type ReasonProps = Pick<ConsideredProps, 'event' | 'markedId' | 'onMark'> & { readonly row: Considered };

function Reason({ row, event, ...marking }: ReasonProps) {
  const { result, subscription } = row;
  if (result === 'FILTER_FALSE' && subscription.filter != null) return <FailedPaths {...{ row, event }} {...marking} />;
  // A deleted subscription has no event types.
  if (result === 'TYPE_MISMATCH' && subscription.eventTypes.length > 0) {
    return (
      <span title={visibleLine(event.type)}>
        {words.selects} <code>{subscription.eventTypes.map(visibleLine).join(', ')}</code>
      </span>
    );
  }
  return <>{messages.considered[result].reason}</>;
}

/** The conditions of the current filter that the data does not match. */
function FailedPaths({ row, event, markedId, onMark }: ReasonProps) {
  const { subscription } = row;
  const result = useFailedPaths(event, subscription.filter);
  if (result === undefined) return <>{messages.considered.FILTER_FALSE.reason}</>;
  if (result.matches) return <>{words.filterChanged}</>;
  return (
    <>
      {words.notMatched} <code>{conditionsOf(result.failedPaths).map(visibleLine).join(', ')}</code>
      {markedId !== subscription.id && (
        <Button kind="quiet" aria-label={words.of(words.markFor, hostOf(row))} onClick={() => onMark(subscription.id)}>
          {words.markFor}
        </Button>
      )}
    </>
  );
}
