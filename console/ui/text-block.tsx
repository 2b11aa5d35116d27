import { messages } from '../messages.ts';
import { JsonView } from './json-view.tsx';
import styles from './text-block.module.css';
import { visibleText } from './visible-text.ts';

type BodyProps = { readonly text: string; readonly label: string };

/** A body of a receiver: as a tree if it is JSON, otherwise as text. */
export function Body({ text, label }: BodyProps) {
  if (text === '') return <p className={styles.empty}>{messages.delivery.noBody}</p>;
  const json = parseObject(text);
  if (json !== undefined) return <JsonView value={json} label={label} />;
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
