import { useQuery } from 'urql';
import { EventData } from '../events/event-data.tsx';
import {
  EventTypeDetailsDocument,
  type EventTypeDetailsQuery,
  type EventTypeRowFragment,
} from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { messages } from '../messages.ts';
import { paths } from '../paths.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { Button } from '../ui/button.tsx';
import { Facts } from '../ui/facts.tsx';
import { JsonView } from '../ui/json-view.tsx';
import { Link } from '../ui/link.tsx';
import { Section } from '../ui/section.tsx';
import { ObjectState } from '../ui/states.tsx';
import { Time } from '../ui/time.tsx';
import { visibleLine, visibleText } from '../ui/visible-text.ts';
import styles from './event-type-details.module.css';
import { catalogueWords as words } from './messages.ts';
import { placeInSchema } from './place-in-schema.ts';

type DetailsProps = {
  readonly name: string;
  /** The path in the data at which a rejected event does not match the schema. */
  readonly violated: string | null;
  /** Undefined if the viewer cannot change the catalogue. */
  readonly onEdit: ((entry: EventTypeRowFragment) => void) | undefined;
};

/** Reads the entry by its name: a link can lead to one that is not on the pages of the list that were read. */
export function EventTypeDetails({ name, violated, onEdit }: DetailsProps) {
  const [{ data, error, fetching }] = useQuery({
    query: EventTypeDetailsDocument,
    variables: { name, ...useTenantFilter() },
  });
  const row = data?.eventType;
  if (row == null) {
    return (
      <ObjectState error={error} isLoading={fetching} title={words.notFound}>
        {words.notFoundHint}
      </ObjectState>
    );
  }
  const { example, subscriptionCount } = row;
  const marked = new Set(violated === null ? [] : [placeInSchema(row.schema, violated)]);
  return (
    <>
      {row.description !== '' && <p>{visibleText(row.description)}</p>}
      <Facts
        facts={[
          {
            name: words.subscriptions,
            value: (
              <Link to={paths.subscriptions({ type: row.name })}>
                {words.selecting(subscriptionCount ?? undefined)}
              </Link>
            ),
          },
          example != null && {
            name: words.lastEvent,
            value: (
              <Link to={paths.event(example.tenant, example.id)}>
                <Time at={example.createdAt} />
              </Link>
            ),
          },
          row.isArchived && { name: messages.columns.status, value: words.archived },
        ]}
      />
      {violated !== null && <p>{words.violated(visibleLine(violated))}</p>}
      {row.schema == null ? (
        <p>{words.noSchema}</p>
      ) : (
        <div className={styles.part}>
          <Section title={words.schema}>
            <JsonView value={row.schema} label={words.schema} marked={marked} />
          </Section>
        </div>
      )}
      <Example event={example} />
      <div className={styles.actions}>
        <Link to={paths.events({ type: row.name })}>{words.events}</Link>
        {onEdit !== undefined && <Button onClick={() => onEdit(row)}>{words.edit}</Button>}
      </div>
    </>
  );
}

type ExampleProps = { readonly event: NonNullable<EventTypeDetailsQuery['eventType']>['example'] };

/** The data of the last event of the type. */
function Example({ event }: ExampleProps) {
  const { isAdmin, seesAllSubscriptions } = useViewer();
  const { tenant } = useTenantFilter();
  // The server never returns an example to a limited session.
  if (!seesAllSubscriptions) return null;
  if (event == null) return <p>{isAdmin && tenant === undefined ? words.noRecentExample : words.noExample}</p>;
  return (
    <div className={styles.part}>
      <EventData
        text={event.dataText ?? undefined}
        isRedacted={event.redactedAt != null}
        hint={isAdmin ? words.exampleOf(visibleLine(event.tenant)) : words.example}
      />
    </div>
  );
}
