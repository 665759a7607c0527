// Units as laboratories write them, and as UCUM does.
const UNITS = {
  "mg%": "mg/dL",
  "mmol/l": "mmol/L",
  "g/dl": "g/dL",
  "K/uL": "10*3/uL",
};

export const unit = (written) => UNITS[written] ?? written;
