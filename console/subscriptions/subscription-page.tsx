import { useState } from 'react';
import { deliveriesWords } from '../deliveries/messages.ts';
import {
  SubscriptionDetailsDocument,
  type SubscriptionDetailsQuery,
  type SubscriptionSettingsFragment,
  WatchDeliveriesDocument,
  WatchSubscriptionsDocument,
} from '../generated/graphql.ts';
import { useStore } from '../graphql/store.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { type ChangeStream, changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { overviewWords } from '../overview/messages.ts';
import { bucketLabel, useRange } from '../overview/ranges.ts';
import { paths } from '../paths.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { PageTitle } from '../shell/layout.tsx';
import { preferences } from '../shell/preferences.ts';
import { Bars } from '../ui/bars.tsx';
import { Button } from '../ui/button.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { Facts } from '../ui/facts.tsx';
import { count, countOf, percent, relativeTime } from '../ui/format.ts';
import { Id } from '../ui/id.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { Link } from '../ui/link.tsx';
import { DeliveryOutcome } from '../ui/outcome.tsx';
import { Section } from '../ui/section.tsx';
import { EmptyState, ObjectState } from '../ui/states.tsx';
import { Table } from '../ui/table.tsx';
import { Time, useNow } from '../ui/time.tsx';
import { splitUrl, visibleLine } from '../ui/visible-text.ts';
import { Breakdown } from './breakdown.tsx';
import { DeliverMissed } from './deliver-missed.tsx';
import { missedEventsWords, subscriptionWords as words } from './messages.ts';
import { SecretsSection } from './secrets-section.tsx';
import { SubscriptionActions } from './subscription-actions.tsx';
import { SubscriptionState } from './subscription-state.tsx';

const columns = messages.columns;

/** Milliseconds for which changes are collected: a busy subscription has many deliveries a second. */
const COLLECT_MS = 1_000;

function streamsOf({ webhookSubscription }: SubscriptionDetailsQuery, changed: () => void): readonly ChangeStream[] {
  if (webhookSubscription == null) return [];
  const filter = { tenant: webhookSubscription.tenant, subscriptionIds: [webhookSubscription.id] };
  return [
    changeStream({ document: WatchSubscriptionsDocument, filter, onChange: changed }),
    changeStream({ document: WatchDeliveriesDocument, filter, onChange: changed }),
  ];
}

/** One subscription: its state, settings, secrets and deliveries, and what can be done with it. */
export function SubscriptionPage({ id }: { readonly id: string }) {
  const { seesAllSubscriptions, seesPayloads } = useViewer();
  const { from, to } = useRange('24h');
  const [{ data, error, fetching }] = useWatchedQuery({
    query: SubscriptionDetailsDocument,
    variables: { id, from, to },
    streams: streamsOf,
    collectMs: COLLECT_MS,
  });
  const subscription = data?.webhookSubscription;
  if (subscription == null) {
    return (
      <>
        <PageTitle title={words.title} />
        <ObjectState error={error} isLoading={fetching} title={words.notFound}>
          {words.notFoundHint}
        </ObjectState>
      </>
    );
  }
  return (
    <>
      <PageTitle title={splitUrl(subscription.url)?.host ?? words.title}>
        <SubscriptionActions subscription={subscription} />
      </PageTitle>
      <Facts
        facts={[
          { name: columns.status, value: <SubscriptionState subscription={subscription} /> },
          { name: columns.endpoint, value: <Endpoint url={subscription.url} /> },
          !IS_PORTAL && { name: columns.tenant, value: visibleLine(subscription.tenant) },
          subscription.description !== '' && { name: words.description, value: visibleLine(subscription.description) },
          { name: words.eventTypes, value: <code>{subscription.eventTypes.map(visibleLine).join(', ')}</code> },
          subscription.headerNames.length > 0 && {
            name: words.headers,
            value: <code>{subscription.headerNames.map(visibleLine).join(', ')}</code>,
          },
          { name: words.limits, value: limitsOf(subscription) },
          { name: words.pending, value: <Pending health={subscription.health} /> },
          { name: words.lastSuccess, value: <TimeOrNever at={subscription.health.lastSuccessAt} /> },
          {
            name: words.lastAttempt,
            value: (
              // The newest deliveries can be without an attempt, while the circuit is open.
              <Link to={paths.liveLog(`sub:${subscription.id}`)}>
                <TimeOrNever at={subscription.health.lastAttemptAt} />
              </Link>
            ),
          },
          subscription.health.willDeactivateAt != null && {
            name: words.willDeactivate,
            value: <Time at={subscription.health.willDeactivateAt} />,
          },
          { name: columns.id, value: <Id value={subscription.id} /> },
          { name: columns.created, value: <Time at={subscription.createdAt} /> },
          { name: words.changed, value: <Time at={subscription.updatedAt} /> },
        ]}
      />
      <Statistics stats={subscription.stats} />
      <Breakdown subscription={subscription} from={from} to={to} />
      <Section
        title={words.filter}
        hint={subscription.filter == null ? words.noFilter : words.filterHint}
        actions={
          seesAllSubscriptions && seesPayloads && <Link to={paths.filter(subscription.id)}>{words.tryFilter}</Link>
        }
      >
        {subscription.filter != null && <JsonView value={subscription.filter} label={words.filter} />}
      </Section>
      <SecretsSection subscription={subscription} />
      <Deliveries subscription={subscription} />
    </>
  );
}

function Pending({ health: { pendingCount, isExact, oldestPendingAt } }: Pick<SubscriptionDetails, 'health'>) {
  const now = useNow();
  const number = countOf(pendingCount, isExact);
  if (oldestPendingAt == null) return <>{number}</>;
  return <>{words.pendingSince(number, relativeTime(Date.parse(oldestPendingAt), now))}</>;
}

function TimeOrNever({ at }: { readonly at: string | null | undefined }) {
  return at == null ? <>{words.never}</> : <Time at={at} />;
}

function limitsOf({ timeoutMs, maxInFlight, rateLimitPerSecond }: SubscriptionSettingsFragment): string {
  return [
    words.timeout(timeoutMs),
    words.inFlight(maxInFlight),
    rateLimitPerSecond == null ? words.noRateLimit : words.rateLimit(rateLimitPerSecond),
  ].join(' · ');
}

function Statistics({ stats }: { readonly stats: SubscriptionDetails['stats'] }) {
  const { zone } = useStore(preferences);
  const { attemptCount, failureCount, successRate, responseTimeMs } = stats.total;
  const title = words.lastDay(attemptCount, failureCount);
  return (
    <Section title={title}>
      {attemptCount > 0 && (
        <>
          <Facts
            facts={[
              { name: words.successRate, value: successRate == null ? messages.none : percent(successRate) },
              { name: words.attempts, value: count(attemptCount) },
              responseTimeMs != null && { name: 'p50', value: words.ms(responseTimeMs.p50) },
              responseTimeMs != null && { name: 'p95', value: words.ms(responseTimeMs.p95) },
            ]}
          />
          <Bars
            title={title}
            words={overviewWords}
            bars={stats.buckets.map(({ from, successCount, failureCount: failed }) => ({
              key: from,
              label: bucketLabel(from, '24h', zone),
              succeeded: successCount,
              failed,
            }))}
          />
        </>
      )}
    </Section>
  );
}

export type SubscriptionDetails = NonNullable<SubscriptionDetailsQuery['webhookSubscription']>;

function Deliveries({ subscription }: { readonly subscription: SubscriptionDetails }) {
  const { canWrite, seesAllSubscriptions, seesPayloads } = useViewer();
  const [isOpen, setOpen] = useState(false);
  const rows = subscription.deliveries.nodes;
  const more = (
    <>
      <Link to={paths.liveLog(`sub:${subscription.id}`)}>{words.watch}</Link>
      <Link to={paths.deliveries({ subscription: subscription.id })}>{words.allDeliveries}</Link>
      {subscription.isActive && canWrite && seesAllSubscriptions && seesPayloads && (
        <Button kind="quiet" onClick={() => setOpen(true)}>
          {missedEventsWords.title}
        </Button>
      )}
    </>
  );
  return (
    <Section title={words.deliveries} actions={more}>
      {rows.length === 0 ? (
        <EmptyState title={deliveriesWords.empty}>
          {subscription.isActive ? words.noDeliveries : words.inactiveHint}
        </EmptyState>
      ) : (
        <Table
          label={words.deliveries}
          head={[columns.status, columns.type, columns.attempts, columns.created]}
          grow={columns.type}
          numbers={[columns.attempts]}
          rows={rows.map((row) => ({
            key: row.id,
            cells: [
              <Link key="status" to={paths.delivery(row.id)}>
                <DeliveryOutcome {...row} />
              </Link>,
              row.event == null ? (
                messages.delivery.eventGone
              ) : (
                <Link key="event" to={paths.event(row.event.tenant, row.event.id)}>
                  <code>{visibleLine(row.event.type)}</code>
                </Link>
              ),
              row.attemptCount,
              <Time key="created" at={row.createdAt} />,
            ],
          }))}
        />
      )}
      {isOpen && <DeliverMissed subscription={subscription} onClose={() => setOpen(false)} />}
    </Section>
  );
}
