import styles from './bars.module.css';
import { count } from './format.ts';

export type Bar = {
  readonly key: string;
  /** The period, such as `12:00`. */
  readonly label: string;
  readonly succeeded: number;
  readonly failed: number;
  readonly note?: string | undefined;
};

type BarsProps = {
  /** The statement of the chart, read by screen readers in its place. */
  readonly title: string;
  readonly bars: readonly Bar[];
  readonly words: { readonly succeeded: string; readonly failed: string; readonly period: string };
};

/**
 * Successes and failures of successive periods, stacked. A period without any is a gap. A pointer on a bar shows its values;
 * a table has them for screen readers.
 */
export function Bars({ title, bars, words }: BarsProps) {
  const top = Math.max(1, ...bars.map(({ succeeded, failed }) => succeeded + failed));
  const ticks = bars.filter((_, index) => index % Math.ceil(bars.length / 6) === 0);
  return (
    <figure className={styles.figure}>
      <div className={styles.chart} aria-hidden="true">
        <span className={styles.top}>{count(top)}</span>
        {bars.map(({ key, label, succeeded, failed, note }) => (
          <div key={key} className={styles.bar} title={valuesOf({ label, succeeded, failed, note }, words)}>
            <span className={styles.failed} style={{ height: `${(failed / top) * 100}%` }} />
            <span className={styles.succeeded} style={{ height: `${(succeeded / top) * 100}%` }} />
          </div>
        ))}
      </div>
      <div className={styles.axis} aria-hidden="true">
        {ticks.map(({ key, label }) => (
          <span key={key}>{label}</span>
        ))}
      </div>
      <div className={styles.legend} aria-hidden="true">
        <span className={styles.succeededKey}>{words.succeeded}</span>
        <span className={styles.failedKey}>{words.failed}</span>
      </div>
      {/* A table itself would be as wide as its caption. */}
      <div className="visually-hidden">
        <table>
          <caption>{title}</caption>
          <thead>
            <tr>
              <th scope="col">{words.period}</th>
              <th scope="col">{words.succeeded}</th>
              <th scope="col">{words.failed}</th>
            </tr>
          </thead>
          <tbody>
            {bars
              .filter(({ succeeded, failed }) => succeeded + failed > 0)
              .map(({ key, label, succeeded, failed }) => (
                <tr key={key}>
                  <th scope="row">{label}</th>
                  <td>{succeeded}</td>
                  <td>{failed}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </figure>
  );
}

function valuesOf({ label, succeeded, failed, note }: Omit<Bar, 'key'>, words: BarsProps['words']): string {
  const values = [`${count(succeeded)} ${words.succeeded}`, `${count(failed)} ${words.failed}`, note];
  return `${label}: ${values.filter((value) => value !== undefined).join(', ')}`;
}
