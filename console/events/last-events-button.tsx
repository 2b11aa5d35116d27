import { useState } from 'react';
import { useClient } from 'urql';
import { LastEventsDocument } from '../generated/graphql.ts';
import { useStore } from '../graphql/store.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { preferences } from '../shell/preferences.ts';
import { Button } from '../ui/button.tsx';
import { describeError } from '../ui/states.tsx';
import styles from './event-page.module.css';
import { lastEventsWords as words } from './messages.ts';

type LastEvent = { readonly type: string; readonly data: unknown };

type LastEventsProps = {
  readonly name: string;
  /** Types or prefixes. If the list is empty, the button is disabled. */
  readonly eventTypes: readonly string[];
  readonly tenant?: string | undefined;
  /** Gets the newest events of these types, newest first, at least one. */
  readonly onEvents: (events: readonly LastEvent[]) => void;
};

/**
 * Reads the newest events as examples for a form: up to 10, without test events and redacted ones. Not shown to viewers
 * who may not see data, and while values are hidden, because the form would show them.
 */
export function LastEventsButton({ name, eventTypes, tenant, onEvents }: LastEventsProps) {
  const client = useClient();
  const { seesAllSubscriptions, seesPayloads } = useViewer();
  const { hidesValues } = useStore(preferences);
  const [isReading, setReading] = useState(false);
  const [problem, setProblem] = useState('');
  if (!seesAllSubscriptions || !seesPayloads || hidesValues) return null;
  const read = async () => {
    setReading(true);
    const filter = { eventTypes: [...eventTypes], ...(tenant !== undefined && { tenant }) };
    const { data, error } = await client
      .query(LastEventsDocument, { filter }, { requestPolicy: 'network-only' })
      .toPromise();
    setReading(false);
    const events = (data?.events.nodes ?? []).flatMap(({ type, source, dataText, redactedAt }) =>
      dataText == null || redactedAt != null || source === 'TEST'
        ? []
        : [{ type, data: JSON.parse(dataText) as unknown }],
    );
    setProblem(error === undefined ? (events.length === 0 ? words.none : '') : describeError(error));
    if (events.length > 0) onEvents(events);
  };
  return (
    <div className={styles.lastEvents}>
      <Button icon="event" disabled={isReading || eventTypes.length === 0} onClick={read}>
        {name}
      </Button>
      <span aria-live="polite">{problem}</span>
    </div>
  );
}
