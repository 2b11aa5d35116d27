import { useMemo, useState } from 'react';
import { useQuery } from 'urql';
import { EventData } from '../events/event-data.tsx';
import { conditionsOf } from '../events/failed-paths.ts';
import { useFailedPaths } from '../events/use-failed-paths.ts';
import {
  FilteredSubscriptionDocument,
  FilterResultsDocument,
  SampleEventDocument,
  type SubscriptionSettingsFragment,
} from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { subscriptionWords } from '../subscriptions/messages.ts';
import { Button } from '../ui/button.tsx';
import { Endpoint } from '../ui/endpoint.tsx';
import { TextAreaField } from '../ui/field.tsx';
import { type Column, Grid } from '../ui/grid.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { Link } from '../ui/link.tsx';
import { Mark } from '../ui/outcome.tsx';
import { EmptyState, ObjectState, problemsOf, SkeletonRows } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { useDebounced } from '../ui/use-debounced.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { compareResults, type EventResult, MATCHES_EVERYTHING, textOfFilter } from './compare.ts';
import styles from './filter-playground-page.module.css';
import { filterPlaygroundWords as words } from './messages.ts';
import { SaveFilter } from './save-filter.tsx';

const columnNames = messages.columns;

const COLUMNS: readonly Column<EventResult>[] = [
  {
    key: 'result',
    header: words.result,
    width: 'clamp(120px, 30%, 168px)',
    cell: ({ matches, change }) => (
      <Mark tone={matches ? 'success' : 'neutral'} detail={change === undefined ? undefined : words[change]}>
        {matches ? words.matches : words.filteredOut}
      </Mark>
    ),
  },
  {
    key: 'conditions',
    header: words.conditions,
    width: 'minmax(96px, 1.4fr)',
    from: 420,
    cell: ({ failedPaths }) => <code>{conditionsOf(failedPaths).map(visibleLine).join(', ')}</code>,
  },
  {
    key: 'type',
    header: columnNames.type,
    width: 'minmax(88px, 1fr)',
    cell: ({ event }) => <code>{visibleLine(event.type)}</code>,
  },
  {
    key: 'created',
    header: columnNames.created,
    width: '84px',
    align: 'end',
    from: 560,
    cell: ({ event }) => <Time at={event.createdAt} />,
  },
];

/** The filter of a subscription, tested on real events before it is saved. The URL has the sample event. */
export function FilterPlaygroundPage({ id }: { readonly id: string }) {
  const [{ data, error, fetching }] = useQuery({
    query: FilteredSubscriptionDocument,
    variables: { id },
    // The text starts with this filter, and is saved if the server still has it. The cache can have an older one.
    requestPolicy: 'network-only',
  });
  const subscription = data?.webhookSubscription;
  if (subscription == null) {
    return (
      <>
        <PageTitle title={words.title} />
        <ObjectState error={error} isLoading={fetching} title={subscriptionWords.notFound}>
          {subscriptionWords.notFoundHint}
        </ObjectState>
      </>
    );
  }
  return <Playground subscription={subscription} />;
}

function Playground({ subscription }: { readonly subscription: SubscriptionSettingsFragment }) {
  const { canWrite } = useViewer();
  const [params] = useUrlParams();
  const [isSaving, setSaving] = useState(false);
  const [tested, setTested] = useState(() => textOfFilter(subscription.filter));
  const { text, type } = useDebounced(tested, setTested);
  const parsed = useMemo(() => parseJsonText(tested), [tested]);
  const filter = parsed === undefined ? undefined : (parsed.value ?? MATCHES_EVERYTHING);
  const { rows, error, isLoading } = useResults(subscription, filter);
  const problems = parsed === undefined ? [{ path: 'filter', message: messages.notJson }] : problemsOf(error, 'filter');
  const sampleId = params.get('event');
  const isUnchanged = text.trim() === textOfFilter(subscription.filter);
  return (
    <>
      <PageTitle
        title={words.title}
        after={
          <Link to={paths.subscription(subscription.id)}>
            <Endpoint url={subscription.url} />
          </Link>
        }
      >
        {canWrite && (
          <Button
            kind="primary"
            disabled={isUnchanged || problems.length > 0 || tested !== text.trim()}
            onClick={() => setSaving(true)}
          >
            {words.save}
          </Button>
        )}
      </PageTitle>
      <div className={styles.split}>
        <div className={styles.left}>
          <div className={styles.editor}>
            <TextAreaField
              label={words.filter}
              hint={words.hint}
              path="filter"
              problems={problems}
              rows={Math.min(20, Math.max(8, text.split('\n').length + 1))}
              value={text}
              onChange={type}
            />
          </div>
          <Sample id={sampleId} tenant={subscription.tenant} filter={problems.length > 0 ? undefined : filter} />
        </div>
        <Results isValid={problems.length === 0} isLoading={isLoading} rows={rows} />
      </div>
      {isSaving && (
        <SaveFilter
          subscription={subscription}
          filter={text.trim() === '' ? null : filter}
          gained={rows.filter(({ change }) => change === 'gained').map(({ event }) => event)}
          onClose={() => setSaving(false)}
        />
      )}
    </>
  );
}

type ResultsProps = {
  readonly rows: readonly EventResult[];
  readonly isValid: boolean;
  readonly isLoading: boolean;
};

/** Which of the latest events the filter selects. */
function Results({ rows, isValid, isLoading }: ResultsProps) {
  const [params, setParams] = useUrlParams();
  return (
    <div className={styles.right}>
      <p className={styles.summary} role="status">
        {!isValid ? words.invalid : isLoading ? words.testing : <Summary rows={rows} />}
      </p>
      {isLoading && rows.length === 0 ? (
        <SkeletonRows count={16} />
      ) : (
        <Grid
          label={words.label}
          columns={COLUMNS}
          rows={rows}
          rowKey={({ event }) => event.id}
          openKey={params.get('event') ?? undefined}
          onOpen={({ event }) => setParams({ event: event.id })}
          empty={
            isValid ? (
              <EmptyState title={words.empty}>{words.emptyHint}</EmptyState>
            ) : (
              <EmptyState title={words.invalid}>{words.invalidHint}</EmptyState>
            )
          }
        />
      )}
    </div>
  );
}

function Summary({ rows }: { readonly rows: readonly EventResult[] }) {
  const countOf = (change: EventResult['change']) => rows.filter((row) => row.change === change).length;
  const matching = rows.filter(({ matches }) => matches).length;
  return (
    <>
      <strong>{words.matching(matching, rows.length)}</strong>, {words.change(countOf('gained'), countOf('lost'))}
    </>
  );
}

/** The results of a filter on the latest events, compared with those of the saved one. */
function useResults({ tenant, eventTypes, filter: saved }: SubscriptionSettingsFragment, filter: unknown) {
  const variables = { tenant, eventTypes };
  const [edited] = useQuery({
    query: FilterResultsDocument,
    variables: { ...variables, filter },
    pause: filter === undefined,
    requestPolicy: 'network-only',
  });
  const [before] = useQuery({
    query: FilterResultsDocument,
    variables: { ...variables, filter: saved ?? MATCHES_EVERYTHING },
    requestPolicy: 'cache-first',
  });
  const rows = useMemo(
    () => compareResults(edited.data?.testFilterOnEvents ?? [], before.data?.testFilterOnEvents ?? []),
    [edited.data, before.data],
  );
  return { rows, error: edited.error, isLoading: edited.fetching || before.fetching };
}

type SampleProps = { readonly id: string | null; readonly tenant: string; readonly filter: unknown };

/** The data of the selected event, with marks for the conditions that it does not match. */
function Sample({ id, tenant, filter }: SampleProps) {
  const [{ data }] = useQuery({
    query: SampleEventDocument,
    variables: { id: id ?? '', tenant },
    pause: id === null,
    requestPolicy: 'cache-first',
  });
  const failed = useFailedPaths({ id: id ?? '', tenant }, id === null ? undefined : filter);
  const event = data?.event;
  if (id === null || event?.id !== id) return <p className={styles.hint}>{words.pickSample}</p>;
  return (
    <EventData
      text={event.dataText ?? undefined}
      isRedacted={event.redactedAt != null}
      hint={visibleLine(event.type)}
      failedPaths={failed?.failedPaths}
    />
  );
}
