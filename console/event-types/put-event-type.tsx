import { useState } from 'react';
import { LastEventsButton } from '../events/last-events-button.tsx';
import { type EventTypeRowFragment, PutEventTypeDocument, TryEventTypeDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { useTenantFilter } from '../shell/acting-tenant.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextAreaField, TextField } from '../ui/field.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { useForm } from '../ui/use-form.ts';
import { useResultFor } from '../ui/use-result-for.ts';
import { draftSchema } from './draft-schema.ts';
import { catalogueWords as words } from './messages.ts';
import { SchemaTrial, type Trial } from './schema-trial.tsx';

/** The existing entry, or the name of a new one if it is known. */
export type EditedType = { readonly name?: string; readonly entry?: EventTypeRowFragment };

type PutEventTypeProps = {
  readonly initial: EditedType;
  readonly onClose: () => void;
  readonly onSaved: () => void;
};

/** The form of an entry of the catalogue. A changed schema is first tested on past events, and then saved. */
export function PutEventType({ initial, onClose, onSaved }: PutEventTypeProps) {
  const { entry } = initial;
  const [saved] = useState(() => valuesOf(initial));
  const saving = useAction(PutEventTypeDocument, (data) => data.putEventType);
  const trying = useAction(TryEventTypeDocument, (data) => data.putEventType);
  const [hasTried, setTried] = useState(false);
  const { values, field, check, state } = useForm(saved, hasTried ? trying : saving);
  const { tenant } = useTenantFilter();
  const { name, description, schema, status } = values;
  const { result: trial, setResult: setTrial } = useResultFor<Trial>({ name: name.trim(), schema });
  const isTriedFirst = trial === undefined && schema.trim() !== '' && schema !== saved.schema;
  const submit = async () => {
    const parsed = parseJsonText(schema);
    check(parsed === undefined ? [{ path: 'schema', message: messages.notJson }] : []);
    if (parsed === undefined) return;
    setTried(isTriedFirst);
    const isArchived = status === 'archived';
    const input = { name: name.trim(), description, isArchived, schema: parsed.value ?? null };
    if (isTriedFirst) setTrial((await trying.run({ input: { ...input, dryRun: true } }))?.trial ?? undefined);
    else if ((await saving.run({ input })) !== undefined) onSaved();
  };
  return (
    <Dialog title={entry === undefined ? words.add : words.edit} onClose={onClose}>
      <Form
        form={state}
        onSubmit={submit}
        actions={
          <FormButtons
            submit={isTriedFirst ? words.tryIt : messages.save}
            isDisabled={trying.isRunning || saving.isRunning}
            onDismiss={onClose}
          />
        }
      >
        <TextField
          {...field('name')}
          label={messages.columns.type}
          placeholder="order.paid"
          readOnly={entry !== undefined}
        />
        <TextField {...field('description')} label={words.description} />
        <TextAreaField {...field('schema')} label={words.schema} hint={words.schemaHint} rows={12} />
        {schema.trim() === '' && (
          <LastEventsButton
            name={words.draft}
            eventTypes={name.trim() === '' ? [] : [name.trim()]}
            tenant={tenant}
            onEvents={(events) =>
              field('schema').onChange(JSON.stringify(draftSchema(events.map(({ data }) => data)), undefined, 2))
            }
          />
        )}
        <SelectField
          {...field('status', 'isArchived')}
          label={messages.columns.status}
          hint={words.archivedHint}
          options={[
            { value: 'listed', name: words.listed },
            { value: 'archived', name: words.archived },
          ]}
        />
        <div aria-live="polite">{trial !== undefined && <SchemaTrial trial={trial} />}</div>
      </Form>
    </Dialog>
  );
}

/** The texts of the form. */
function valuesOf({ name = '', entry }: EditedType) {
  return {
    name,
    description: entry?.description ?? '',
    schema: entry?.schema == null ? '' : JSON.stringify(entry.schema, undefined, 2),
    status: entry?.isArchived === true ? 'archived' : 'listed',
  };
}
