// The laboratory's units, as the rest of the house writes them.
import { unit } from "./lib/units.js";

export default function (message) {
  for (const obx of message.segments("OBX")) {
    const written = obx.get("6.1");
    if (written !== "") obx.set("6.1", unit(written));
  }
}
