import { useStore } from '../graphql/store.ts';
import { preferences } from '../shell/preferences.ts';
import { count } from '../ui/format.ts';
import { visibleLine } from '../ui/visible-text.ts';
import { filterInWords } from './filter-in-words.ts';
import styles from './job-progress.module.css';
import { replaysWords as words } from './messages.ts';

type ListedProgressProps = { readonly isDryRun: boolean; readonly done: number; readonly all: number };

/** The number of processed deliveries of a job, in a cell of a list. */
export function ListedProgress({ isDryRun, done, all }: ListedProgressProps) {
  return isDryRun ? words.counts(all) : words.of(count(done), count(all));
}

/** The deliveries of a job in words, with times in the chosen zone. */
export function JobDeliveries({ filter }: { readonly filter: unknown }) {
  const { zone } = useStore(preferences);
  return visibleLine(filterInWords(filter, zone));
}

type JobProgressProps = { readonly filter: unknown; readonly done: number; readonly all: number };

/** The deliveries of a job in words, and the number of processed ones. */
export function JobProgress({ filter, done, all }: JobProgressProps) {
  return (
    <>
      <p className={styles.filter}>
        <JobDeliveries filter={filter} />
      </p>
      <div className={styles.progress}>
        <progress max={Math.max(1, all)} value={done} aria-label={words.progress} />
        <span>{words.of(count(done), count(all))}</span>
      </div>
    </>
  );
}
