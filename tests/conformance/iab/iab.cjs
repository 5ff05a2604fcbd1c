// The IAB's own libraries behind one process: a JSON request a line on stdin, a JSON answer a line on stdout.
const readline = require("node:readline");
const { createRequire } = require("node:module");
const load = createRequire(`${process.argv[2]}/`);
const { GVL, PurposeRestriction, TCModel, TCString } = load("@iabtcf/core");
const { GppModel } = load("@iabgpp/cmpapi");

const PURPOSES = Array.from({ length: 24 }, (_, index) => index + 1);
const SETS = [
  "specialFeatureOptins", "purposeConsents", "purposeLegitimateInterests", "vendorConsents",
  "vendorLegitimateInterests", "publisherConsents", "publisherLegitimateInterests", "publisherCustomConsents",
  "publisherCustomLegitimateInterests",
];
const PLAIN = [
  "cmpId", "cmpVersion", "consentScreen", "publisherCountryCode", "isServiceSpecific", "useNonStandardStacks",
  "purposeOneTreatment", "numCustomPurposes",
];

function vendorList(request) {
  const named = (ids) => Object.fromEntries(ids.map((id) => [id, { id, name: `${id}` }]));
  const vendor = (id) => ({
    id, name: `${id}`, purposes: [1, 2], legIntPurposes: [7, 8], flexiblePurposes: [2], specialPurposes: [],
    features: [], specialFeatures: [],
  });
  return new GVL({
    gvlSpecificationVersion: 3, vendorListVersion: request.vendorListVersion,
    tcfPolicyVersion: request.policyVersion, lastUpdated: "2026-01-01T00:00:00Z", purposes: named(PURPOSES),
    specialPurposes: {}, features: {}, specialFeatures: named(PURPOSES.slice(0, 12)), stacks: {},
    vendors: Object.fromEntries(request.vendorsDisclosed.map((id) => [id, vendor(id)])),
  });
}

function encodeTcf(request) {
  const model = new TCModel(vendorList(request));
  for (const name of PLAIN) model[name] = request[name];
  for (const name of SETS) model[name].set(request[name]);
  for (const [purpose, type, vendors] of request.publisherRestrictions) {
    for (const vendor of vendors) model.publisherRestrictions.add(vendor, new PurposeRestriction(purpose, type));
  }
  model.created = new Date(request.created);
  model.lastUpdated = new Date(request.lastUpdated);
  return { text: TCString.encode(model, request.segments ? { segments: request.segments } : undefined) };
}

function idsOf(vector) {
  const ids = [];
  vector.forEach((isSet, id) => { if (isSet) ids.push(id); });
  return ids;
}

function decodeTcf({ text }) {
  const model = TCString.decode(text);
  const answer = {
    created: model.created.getTime(), lastUpdated: model.lastUpdated.getTime(),
    consentLanguage: model.consentLanguage, vendorListVersion: model.vendorListVersion,
    policyVersion: model.policyVersion, vendorsDisclosed: idsOf(model.vendorsDisclosed),
  };
  for (const name of PLAIN) answer[name] = model[name];
  for (const name of SETS) answer[name] = idsOf(model[name]);
  answer.publisherRestrictions = model.publisherRestrictions.getRestrictions().map((restriction) => [
    restriction.purposeId, restriction.restrictionType, model.publisherRestrictions.getVendors(restriction),
  ]);
  return answer;
}

function encodeGpp({ fields, texts }) {
  const model = new GppModel();
  for (const [section, text] of Object.entries(texts)) model.decodeSection(section, text);
  for (const [section, values] of Object.entries(fields)) {
    for (const [name, value] of Object.entries(values)) model.setFieldValue(section, name, value);
  }
  return { text: model.encode() };
}

function decodeGpp({ text }) {
  const model = new GppModel(text);
  return { ids: model.getSectionIds(), sections: model.toObject() };
}

const OPERATIONS = { encodeTcf, decodeTcf, encodeGpp, decodeGpp };

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = OPERATIONS[request.operation](request);
  } catch (error) {
    answer = { error: `${error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
