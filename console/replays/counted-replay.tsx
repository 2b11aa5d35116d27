import type { StartReplayMutation } from '../generated/graphql.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { Endpoint } from '../ui/endpoint.tsx';
import { Link } from '../ui/link.tsx';
import { Table } from '../ui/table.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { skippedInWords, replaysWords as words } from './messages.ts';

type Replay = Extract<StartReplayMutation['startReplay'], { readonly replay: unknown }>['replay'];

const columns = messages.columns;

/** The newest deliveries that a replay would send again, and how many it would skip. */
export function CountedReplay({ replay: { sample, skippedCount, skippedBy } }: { readonly replay: Replay }) {
  return (
    <>
      {skippedCount > 0 && <p>{words.wouldSkip(skippedCount, skippedInWords(skippedBy))}</p>}
      {sample != null && sample.length > 0 && (
        <Table
          label={words.sample}
          head={[columns.created, columns.type, columns.endpoint]}
          grow={columns.endpoint}
          rows={sample.map(({ id, createdAt, event, subscription }) => ({
            key: id,
            cells: [
              <Time key="created" at={createdAt} />,
              <Link key="type" to={paths.delivery(id)}>
                <code>{event == null ? messages.none : visibleLine(event.type)}</code>
              </Link>,
              <Endpoint key="endpoint" url={subscription.url} />,
            ],
          }))}
        />
      )}
    </>
  );
}
