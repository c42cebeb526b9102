// What a view needs of a Jupyter widget's model, on a page without Jupyter: values, and to hear when
// they change.

function stand(values) {
  const heard = new Map();
  return {
    get: (name) => values[name],
    set: (name, value) => {
      values[name] = value;
      for (const hear of heard.get(`change:${name}`) ?? []) hear();
    },
    save_changes: () => {},
    send: () => {},
    on: (name, hear) => heard.set(name, [...(heard.get(name) ?? []), hear]),
    off: (name, hear) => heard.set(name, (heard.get(name) ?? []).filter((each) => each !== hear)),
  };
}
