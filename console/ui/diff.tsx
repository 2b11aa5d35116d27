import styles from './diff.module.css';
import { type DiffLine, lineDiff } from './line-diff.ts';
import { visibleText } from './visible-text.ts';

const SIGNS = { same: ' ', removed: '−', added: '+' } as const;

type DiffProps = {
  readonly label: string;
  readonly before: string;
  readonly after: string;
  /** Names of the two kinds of changes, for screen readers. */
  readonly words: { readonly removed: string; readonly added: string };
};

/** Two texts as one, line by line. */
export function Diff({ label, before, after, words }: DiffProps) {
  return (
    <div className={styles.diff} role="group" aria-label={label} tabIndex={0}>
      {lineDiff(before, after).map((line, index) => (
        <Line key={index} line={line} word={line.kind === 'same' ? undefined : words[line.kind]} />
      ))}
    </div>
  );
}

function Line({ line: { kind, text }, word }: { readonly line: DiffLine; readonly word: string | undefined }) {
  return (
    <div className={styles[kind]}>
      <span aria-hidden="true">{SIGNS[kind]} </span>
      {word !== undefined && <span className="visually-hidden">{word}: </span>}
      {visibleText(text)}
    </div>
  );
}
