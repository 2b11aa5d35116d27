import type { ReactNode } from 'react';
import {
  type AttemptGroupFragment,
  SubscriptionBreakdownDocument,
  type SubscriptionSettingsFragment,
  WatchDeliveriesDocument,
} from '../generated/graphql.ts';
import { useWatchedQuery } from '../graphql/use-changes.ts';
import { changeStream } from '../graphql/watch-changes.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { count } from '../ui/format.ts';
import { Link } from '../ui/link.tsx';
import { Section } from '../ui/section.tsx';
import { Table } from '../ui/table.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import styles from './breakdown.module.css';
import { subscriptionWords as words } from './messages.ts';

const columns = messages.columns;
/** Milliseconds for which changes are collected: the server counts a day of attempts three times. */
const COLLECT_MS = 10_000;

type BreakdownProps = {
  readonly subscription: Pick<SubscriptionSettingsFragment, 'id' | 'tenant'>;
  readonly from: string;
  readonly to: string;
};

/** The attempts of a period by event type, and the failed ones by status code and by reason; the five largest groups of each. */
export function Breakdown({ subscription: { id, tenant }, from, to }: BreakdownProps) {
  const filter = { tenant, subscriptionIds: [id] };
  const [{ data }] = useWatchedQuery({
    query: SubscriptionBreakdownDocument,
    variables: { from, to, attempts: filter, failed: { ...filter, statuses: ['FAILURE' as const] } },
    streams: (_, changed) => [changeStream({ document: WatchDeliveriesDocument, filter, onChange: changed })],
    collectMs: COLLECT_MS,
  });
  if (data === undefined) return null;
  const linkTo = (term: string, text: ReactNode) => (
    <Link to={paths.liveLog(`sub:${id} ${term} since:24h`)}>{text}</Link>
  );
  return (
    <div className={styles.columns}>
      <Groups
        title={words.byType}
        column={columns.type}
        groups={data.types.groups}
        nameOf={(key) => linkTo(`type:${key}`, <code>{visibleLine(key)}</code>)}
        withFailures
      />
      <Groups
        title={words.byCode}
        column={words.code}
        groups={data.codes.groups}
        nameOf={(key) => (key === '0' ? words.noResponse : linkTo(`code:${key} status:failure`, key))}
      />
      <Groups
        title={words.byReason}
        column={columns.reason}
        groups={data.reasons.groups}
        nameOf={(key) => linkTo(`reason:${key.toLowerCase()}`, messages.failureReason(key))}
      />
    </div>
  );
}

type GroupsProps = {
  readonly title: string;
  readonly column: string;
  readonly groups: readonly AttemptGroupFragment[];
  readonly nameOf: (key: string) => ReactNode;
  readonly withFailures?: boolean;
};

function Groups({ title, column, groups, nameOf, withFailures = false }: GroupsProps) {
  if (groups.length === 0) return null;
  const numbers = [columns.attempts, ...(withFailures ? [words.failed] : [])];
  return (
    <Section title={title}>
      <Table
        label={title}
        head={[column, ...numbers]}
        grow={column}
        numbers={numbers}
        rows={groups.map(({ key, total }) => ({
          key,
          cells: [
            <span key="name">{nameOf(key)}</span>,
            count(total.attemptCount),
            ...(withFailures ? [count(total.failureCount)] : []),
          ],
        }))}
      />
    </Section>
  );
}
