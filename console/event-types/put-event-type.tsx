import { useState } from 'react';
import { type EventTypeRowFragment, PutEventTypeDocument } from '../generated/graphql.ts';
import { type InputProblem, useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextAreaField, TextField } from '../ui/field.tsx';
import { parseJsonText } from '../ui/json-text.ts';
import { catalogueWords as words } from './messages.ts';

type PutEventTypeProps = {
  /** Undefined: a new entry. */
  readonly initial: EventTypeRowFragment | undefined;
  readonly onClose: () => void;
  readonly onSaved: () => void;
};

/** The form of an entry of the catalogue. */
export function PutEventType({ initial, onClose, onSaved }: PutEventTypeProps) {
  const [name, setName] = useState(initial?.name ?? '');
  const [description, setDescription] = useState(initial?.description ?? '');
  const [schema, setSchema] = useState(initial?.schema == null ? '' : JSON.stringify(initial.schema, undefined, 2));
  const [isArchived, setArchived] = useState(initial?.isArchived === true);
  const [ownProblems, setOwnProblems] = useState<readonly InputProblem[]>([]);
  const action = useAction(PutEventTypeDocument, (data) => data.putEventType);
  const save = async () => {
    const parsed = parseJsonText(schema);
    setOwnProblems(parsed === undefined ? [{ path: 'schema', message: messages.notJson }] : []);
    if (parsed === undefined) return;
    const input = { name: name.trim(), description, isArchived, schema: parsed.value ?? null };
    if ((await action.run({ input })) !== undefined) onSaved();
  };
  const problems = [...ownProblems, ...(action.failure?.problems ?? [])];
  return (
    <Dialog title={initial === undefined ? words.add : words.edit} onClose={onClose}>
      <Form
        onSubmit={save}
        failure={action.failure}
        actions={<FormButtons submit={messages.save} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <TextField
          label={messages.columns.type}
          placeholder="order.paid"
          path="name"
          problems={problems}
          value={name}
          onChange={setName}
          readOnly={initial !== undefined}
        />
        <TextField
          label={words.description}
          path="description"
          problems={problems}
          value={description}
          onChange={setDescription}
        />
        <TextAreaField
          label={words.schema}
          hint={words.schemaHint}
          path="schema"
          problems={problems}
          rows={12}
          value={schema}
          onChange={setSchema}
        />
        <SelectField
          label={messages.columns.status}
          hint={words.archivedHint}
          value={isArchived ? 'archived' : 'listed'}
          onChange={(value) => setArchived(value === 'archived')}
          options={[
            { value: 'listed', name: words.listed },
            { value: 'archived', name: words.archived },
          ]}
        />
      </Form>
    </Dialog>
  );
}
