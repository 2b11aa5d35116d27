import { useState } from 'react';
import { type EventTypeRowFragment, PutEventTypeDocument, TryEventTypeDocument } from '../generated/graphql.ts';
import { type InputProblem, useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextAreaField, TextField } from '../ui/field.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { catalogueWords as words } from './messages.ts';
import { SchemaTrial, type Trial } from './schema-trial.tsx';

/** The entry, if there is one already; otherwise the name of a new one, if it is known. */
export type EditedType = { readonly name?: string; readonly entry?: EventTypeRowFragment };

type PutEventTypeProps = {
  readonly initial: EditedType;
  readonly onClose: () => void;
  readonly onSaved: () => void;
};

/** The form of an entry of the catalogue. A changed schema is tried on past events first, and then saved. */
export function PutEventType({ initial, onClose, onSaved }: PutEventTypeProps) {
  const { entry } = initial;
  const [saved] = useState(() => valuesOf(initial));
  const [values, setValues] = useState(saved);
  const [trial, setTrial] = useState<Trial>();
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const saving = useAction(PutEventTypeDocument, (data) => data.putEventType);
  const trying = useAction(TryEventTypeDocument, (data) => data.putEventType);
  const { name, description, schema, status } = values;
  const isTriedFirst = trial === undefined && schema.trim() !== '' && schema !== saved.schema;
  const action = isTriedFirst ? trying : saving;
  const set = (field: keyof typeof values) => (value: string) => {
    setValues({ ...values, [field]: value });
    // It was of this type and this schema.
    if (field === 'name' || field === 'schema') setTrial(undefined);
  };
  const submit = async () => {
    const parsed = parseJsonText(schema);
    setOwnProblems(parsed === undefined ? [{ path: 'schema', message: messages.notJson }] : []);
    if (parsed === undefined) return;
    const isArchived = status === 'archived';
    const input = { name: name.trim(), description, isArchived, schema: parsed.value ?? null };
    if (isTriedFirst) setTrial((await trying.run({ input: { ...input, dryRun: true } }))?.trial ?? undefined);
    else if ((await saving.run({ input })) !== undefined) onSaved();
  };
  const problems = [...ownProblems, ...(action.failure?.problems ?? [])];
  return (
    <Dialog title={entry === undefined ? words.add : words.edit} onClose={onClose}>
      <Form
        onSubmit={submit}
        failure={action.failure}
        actions={
          <FormButtons
            submit={isTriedFirst ? words.tryIt : messages.save}
            isDisabled={action.isRunning}
            onDismiss={onClose}
          />
        }
      >
        <TextField
          label={messages.columns.type}
          placeholder="order.paid"
          path="name"
          problems={problems}
          value={name}
          onChange={set('name')}
          readOnly={entry !== undefined}
        />
        <TextField
          label={words.description}
          path="description"
          problems={problems}
          value={description}
          onChange={set('description')}
        />
        <TextAreaField
          label={words.schema}
          hint={words.schemaHint}
          path="schema"
          problems={problems}
          rows={12}
          value={schema}
          onChange={set('schema')}
        />
        <SelectField
          label={messages.columns.status}
          hint={words.archivedHint}
          value={status}
          onChange={set('status')}
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
