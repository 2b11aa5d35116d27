import { useStore } from '../graphql/store.ts';
import { messages } from '../messages.ts';
import { preferences } from '../shell/preferences.ts';
import { JsonView } from './json-view.tsx';
import { redacted } from './redacted.ts';
import styles from './text-block.module.css';
import { visibleText } from './visible-text.ts';

type BodyProps = { readonly text: string; readonly label: string };

/** A body of a request or a response: as a tree if it is JSON, otherwise as text. */
export function Body({ text, label }: BodyProps) {
  const { hidesValues } = useStore(preferences);
  if (text === '') return <p className={styles.empty}>{messages.delivery.noBody}</p>;
  const json = parseObject(text);
  if (json !== undefined) return <JsonView value={hidesValues ? redacted(json) : json} label={label} />;
  if (hidesValues) return <p className={styles.empty}>{messages.hiddenText(text.length)}</p>;
  return <TextBlock text={text} label={label} />;
}

export function TextBlock({ text, label }: BodyProps) {
  return (
    <pre className={styles.text} tabIndex={0} role="group" aria-label={label}>
      {visibleText(text)}
    </pre>
  );
}

/** Only objects and arrays: other JSON reads better as text. */
function parseObject(text: string): object | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
