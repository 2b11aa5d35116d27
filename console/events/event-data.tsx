import { useMemo, useState } from 'react';
import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { preferences } from '../shell/preferences.ts';
import { CopyButton } from '../ui/copy.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { redacted } from '../ui/redacted.ts';
import { RedactionSwitch } from '../ui/redaction-switch.tsx';
import { Section } from '../ui/section.tsx';
import { Segments } from '../ui/segments.tsx';
import { TextBlock } from '../ui/text-block.tsx';
import styles from './event-page.module.css';
import { failedPlaces } from './failed-paths.ts';
import { eventWords as words } from './messages.ts';

type EventDataProps = {
  /** The data byte for byte; undefined if the session hides it. */
  readonly text: string | undefined;
  readonly isRedacted?: boolean;
  readonly hint?: string | undefined;
  /** Paths of conditions that the data does not match. */
  readonly failedPaths?: readonly string[] | undefined;
};

/** The data of an event, unless it was redacted or the session hides it. */
export function EventData({ text, isRedacted = false, ...rest }: EventDataProps) {
  if (isRedacted) return <NoData>{words.redacted}</NoData>;
  if (text === undefined) return <NoData>{messages.hidden}</NoData>;
  return <ShownData text={text} {...rest} />;
}

function NoData({ children }: { readonly children: string }) {
  return (
    <Section title={words.data}>
      <p className={styles.none}>{children}</p>
    </Section>
  );
}

/** Shows the data as a tree with marked failed conditions, or as the publisher's bytes. */
function ShownData({ text, hint, failedPaths = NONE }: EventDataProps & { readonly text: string }) {
  const { hidesValues } = useStore(preferences);
  const [view, setView] = useState('tree');
  const data = useMemo((): unknown => JSON.parse(text), [text]);
  const shown = useMemo(() => (hidesValues ? redacted(data) : data), [data, hidesValues]);
  const marked = useMemo(() => failedPlaces(failedPaths, data), [failedPaths, data]);
  // Only the text has the exact value of numbers beyond the precision of a double.
  const copied = hidesValues ? JSON.stringify(shown, undefined, 2) : text;
  return (
    <Section
      title={words.data}
      hint={hint}
      actions={
        <>
          <RedactionSwitch />
          <Segments
            label={words.view}
            value={view}
            onChange={setView}
            options={[
              { value: 'tree', name: words.tree },
              { value: 'exact', name: words.exact },
            ]}
          />
          <CopyButton text={copied}>{messages.copyJson}</CopyButton>
        </>
      }
    >
      {view === 'tree' ? (
        <JsonView value={shown} label={words.data} marked={marked} />
      ) : (
        <TextBlock text={copied} label={words.data} />
      )}
    </Section>
  );
}

const NONE: readonly string[] = [];
