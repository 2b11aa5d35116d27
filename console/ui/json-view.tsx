import { type ReactNode, useState } from 'react';
import { messages } from '../messages.ts';
import styles from './json-view.module.css';
import { visibleLine } from './visible-text.ts';

/** Members of an object or array that are shown before "show more" is pressed. */
const SHOWN = 200;
/** Levels that are open at first. */
const OPEN_LEVELS = 3;
const MAX_STRING = 2_000;

type JsonViewProps = {
  readonly value: unknown;
  readonly label: string;
  /** Paths such as `user.age` whose values are marked, for example because a filter failed there. */
  readonly marked?: ReadonlySet<string>;
};

/** JSON as a tree of <details>: text nodes only, so that hostile data stays text. */
export function JsonView({ value, label, marked }: JsonViewProps) {
  return (
    <div className={styles.view} role="group" aria-label={label} tabIndex={0}>
      <Node value={value} depth={0} path="" marked={marked ?? NONE} />
    </div>
  );
}

const NONE: ReadonlySet<string> = new Set();

type NodeProps = {
  readonly name?: string;
  readonly value: unknown;
  readonly depth: number;
  readonly path: string;
  readonly marked: ReadonlySet<string>;
};

function Node({ name, value, depth, path, marked }: NodeProps) {
  const className = marked.has(path) ? styles.marked : undefined;
  const key = name === undefined ? null : <Key name={name} />;
  if (typeof value === 'object' && value !== null) {
    const isArray = Array.isArray(value);
    const entries: readonly [string, unknown][] = Object.entries(value);
    if (entries.length > 0) return <Members {...{ entries, isArray, depth, path, marked, className }} head={key} />;
  }
  return (
    <div className={className}>
      {key}
      <Scalar value={value} />
    </div>
  );
}

/** Whether a marked value is below this path. */
function leadsTo(marked: ReadonlySet<string>, path: string): boolean {
  return [...marked].some((each) => each.startsWith(`${path}.`));
}

type MembersProps = Pick<NodeProps, 'depth' | 'path' | 'marked'> & {
  readonly entries: readonly [string, unknown][];
  readonly isArray: boolean;
  readonly className: string | undefined;
  readonly head: ReactNode;
};

function Members({ entries, isArray, depth, path, marked, className, head }: MembersProps) {
  const [isOpen, setOpen] = useState(depth < OPEN_LEVELS || leadsTo(marked, path));
  const [shown, setShown] = useState(SHOWN);
  const [open, close] = isArray ? ['[', ']'] : ['{', '}'];
  return (
    <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary className={className}>
        {head}
        {open}
        {!isOpen && <span className={styles.count}>{messages.json.members(entries.length)}</span>}
        {!isOpen && close}
      </summary>
      {isOpen && (
        <>
          <div className={styles.members}>
            {entries.slice(0, shown).map(([name, value]) => (
              <Node
                key={name}
                {...(!isArray && { name })}
                {...{ value, marked }}
                depth={depth + 1}
                path={path === '' ? name : `${path}.${name}`}
              />
            ))}
            {entries.length > shown && (
              <button type="button" className={styles.more} onClick={() => setShown(shown * 5)}>
                {messages.json.more(entries.length - shown)}
              </button>
            )}
          </div>
          <div>{close}</div>
        </>
      )}
    </details>
  );
}

function Key({ name }: { readonly name: string }) {
  return (
    <>
      <span className={styles.key}>{visibleLine(name)}</span>
      <span className={styles.colon}>: </span>
    </>
  );
}

function Scalar({ value }: { readonly value: unknown }) {
  const [isFull, setFull] = useState(false);
  if (typeof value === 'object' && value !== null) return <>{Array.isArray(value) ? '[]' : '{}'}</>;
  if (typeof value !== 'string') {
    const kind = typeof value === 'number' ? styles.number : styles.word;
    return <span className={kind}>{String(value)}</span>;
  }
  const text = JSON.stringify(value);
  if (text.length <= MAX_STRING || isFull) return <span className={styles.string}>{visibleLine(text)}</span>;
  return (
    <>
      <span className={styles.string}>{visibleLine(text.slice(0, MAX_STRING))}…</span>
      <button type="button" className={styles.more} onClick={() => setFull(true)}>
        {messages.json.wholeString(text.length)}
      </button>
    </>
  );
}
