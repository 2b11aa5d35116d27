import { useState } from 'react';
import { useQuery } from 'urql';
import { ObservedEventTypesDocument } from '../generated/graphql.ts';
import { useViewer } from '../graphql/use-viewer.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { IS_PORTAL } from '../shell/front-end.ts';
import { PageTitle } from '../shell/layout.tsx';
import { useUrlParams } from '../shell/use-url-params.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { SearchField } from '../ui/search-field.tsx';
import { Segments } from '../ui/segments.tsx';
import { visibleLine } from '../ui/visible-text.ts';
import { EventTypeDetails } from './event-type-details.tsx';
import { catalogueWords as words } from './messages.ts';
import { ObservedTypes } from './observed-types.tsx';
import { type EditedType, PutEventType } from './put-event-type.tsx';
import { GroupsButton, TypeGrid } from './type-grid.tsx';
import { useCatalogue } from './use-catalogue.ts';

/** The event catalogue by name, and observed types that it does not contain. The URL has the list and the open entry. */
export function EventTypesPage() {
  const [params, setParams] = useUrlParams();
  const { isAdmin } = useViewer();
  const tenant = useTenantFilter();
  const [edited, setEdited] = useState<EditedType>();
  const list = readList(params);
  const catalogue = useCatalogue();
  const [{ data: observed, error }, readObserved] = useQuery({
    query: ObservedEventTypesDocument,
    variables: tenant,
    pause: IS_PORTAL,
  });
  const unlisted = observed?.observedEventTypes;
  const open = params.get('type');
  return (
    <>
      <PageTitle title={words.title}>
        {list !== 'unlisted' && (
          <SearchField label={words.search} value={catalogue.sought} onChange={(text) => setParams({ q: text })} />
        )}
        <Segments
          label={words.list}
          value={list}
          onChange={(next) => setParams({ list: next })}
          options={[
            { value: '', name: words.listed },
            { value: 'archived', name: words.withArchived },
            ...(unlisted === undefined ? [] : [{ value: 'unlisted', name: words.unlistedCount(unlisted.length) }]),
          ]}
        />
        {list !== 'unlisted' && <GroupsButton catalogue={catalogue} />}
        {isAdmin && (
          <Button kind="primary" icon="plus" onClick={() => setEdited({})}>
            {words.add}
          </Button>
        )}
      </PageTitle>
      {list === 'unlisted' ? (
        <ObservedTypes types={unlisted} error={error} onAdd={isAdmin ? (name) => setEdited({ name }) : undefined} />
      ) : (
        <TypeGrid catalogue={catalogue} openName={open} onOpen={(name) => setParams({ type: name })} />
      )}
      {open !== null && edited === undefined && (
        <Dialog title={visibleLine(open)} onClose={catalogue.close}>
          <EventTypeDetails
            key={open}
            name={open}
            violated={params.get('path')}
            onEdit={isAdmin ? (entry) => setEdited({ name: entry.name, entry }) : undefined}
          />
        </Dialog>
      )}
      {edited !== undefined && (
        <PutEventType
          initial={edited}
          onClose={() => setEdited(undefined)}
          onSaved={() => {
            setEdited(undefined);
            // The rule that a rejected event did not match may have changed.
            setParams({ path: undefined });
            catalogue.pages.refresh();
            readObserved({ requestPolicy: 'network-only' });
          }}
        />
      )}
    </>
  );
}

/** Only operators change the catalogue; users of the portal select types from it. */
function readList(params: URLSearchParams): string {
  const list = params.get('list') ?? '';
  return IS_PORTAL && list === 'unlisted' ? '' : list;
}
