"""The tokens of letters that the vocabulary has, less the held-out words and those that answers turn on: what made-up names are pieced together from in
further training, so that each of them is copied somewhere. Of 2,700 a fifth was in no answer before, and was not said where a
name had it."""
from __future__ import annotations

TOKENS = """ab abin able about ac aces ach ack action ad add adder addle ade adge adow af afraid ag again age agle agon ah ahrenhe ahrenheit
ail ain air airy ak ake akes al alarm ale ality alk all allow allowed also alway always am ame ameters among amount amp an ana
anch andle ands ane ange anim animal anite ank anket ano another answer answers ant antry anyone anything ap apart apple
aquarium ar arch ard ards are area arf arg arge arget argued arguments arium ark arket arm arn art arts artz as ase ash ask
asked ass assistant ast asure at ate ater ather ation ator attic av ave avid avy away ax axe ay ba bab back bag baker bal
balcony bam ban banana band bank bar bark barn bas bat bathroom bator battery bay bble bbon be bea bead bean bear beautiful
become bed bedroom bee beehive been before beh behind bel beli bell belongs belt bem ben ber bes beside best bet better between
bi bic big bike bil bim bin bir bird birthday bis bit bl black ble blind blue bo boards bod body boiler bol bolt bom bon bone
boo book boolean boot bor bos bot both bow bowl box boy br bra brar brary brave bri brief briefly brightness bring brings bro
broke brought btract bu bud bul bulb bum bur bus bush busy but buy by ca cage cal calculate call called calm cam came camel camp
can cane cannot cape car card care careful cart cas case cat ce cean cel cell cellar celsius cem cen cent cer ces cess cet ch
change charge che check cheerful chen cher chim chip cho choice choose ci cial cil cim cin cir cis cit city ck cket ckle cky
classroom cle clear clever cli climbed clip clo cm co coal coat code coffee coin col colder coldest colour com come comes
compare compared compost con conne content convert cony cool coordinator cor cord cork corn corridor cos cot could count cove
cow cr crab cre cret cri cribe crow ct cu cubator cube cul culate cum cun cur curi curious curl current curtain cus cuse cut cy
da dal dam dan dar dark das dat day days dder de deep deer degrees del dem den der des desk det dev device devices dew dge di
dial did dif differ difference different dike dil dim din dio dir dis dit dle do does dol dom dome don done door doors dos dot
dove down dr dra dragon drank draw drier drill drink drum dry ds du dum dun dune dur duration dus dust dut each ear eas echo ect
ed edge edro ee ef ek el eld elect electricity elix ell ellar ellow elm elsi elsius em emp emptier en ena enable enabled ence
end eng ens ensor ent entle entry ents ep eps er era erat erature erful ern error ers es ess est et even evening ever every
everyone everything ex express ext fa fahrenheit fair fal fam family fan far farm fas fat fav favourite fe feed fel fell fem fen
fer fern fes fet few ff fi fig fil fill fim fin find fine fir fire first fis fish fit fl flag flat fo fog foil fol fold fom fon
for fore forest forgot fork fort fos fot found fox fr freezer fri friend friends fro frog from ft fu ful fuller fum fun fur fus
fut ga gab gal gam gan gap gar garage garden gardener gat gate gave ge gel gen ger ges get gether getting gh ghe ghed ght
ghthouse ghtness gi gif gift gil gim gin gir girl gis git give given gives giving gl glad go goat goes gol gom gon gone good gor
gos got gr gra gre green greenhouse grees grey gu guest gul gull gum gun gur gus gut ha had hal hale ham han hands hap happen
happened har hard harp has hat hatch have hawk he heap hear heard heart heat heater heating hed hel hello help helpful hem her
herb here hes het hey hf hi hich hid high highe hil hill him hin hion hir his hit hive ho hog hol holy hom home hood hop hope
hor horn hos hose hour hours how hroom hu hul hum humid humidifier humidity hun hur hurried hus hut ia ial ic ice ices ick id
ide idea ider ient ier ies iet if ifier iful ify ig ight il iler ill ily im in incubator ind ine ines ing inge inger inn int
inte integer inter internet into inv invite iny io iolet ion ip iper ir ird iris iron ise ish isl ist istant istle isture isy
ite item ither its ity ium iv ivy ix ja jal jan jar jas jat je ject jel jem jen jer jes jet ji jil jim jin jir jis jit jo join
jol jom jon jor jos jot joy ju juice jul jum jun jur jus just jut ka kal kam kan kar kas kat ke kebab ked keep kein kel kem ken
kept ker kes ket key keys kg ki kil kiln kim kin kind king kir kis kit kitchen kite km knew kno knock knot know ko kol kom kon
kor kos kot ks ku kul kum kun kur kus kut la lab lack lag lage lake lal lam lamb lamp lan lane lant lar lara larg large larger
lark las lass lassroom lat late lau laughed laundry lawn lay ld le leaf lean lease leav leaves led lee leece leeve left lel lem
len lens ler les let level ley li library lic lid liers light lighthouse lights like lil lily lim lime lin line lion lir lis
listen lit live lived living lo lobe loc local location lock locked loft log lol lom lon loo look looked lor los lost lot
lou loud loudness lour love low lu lul lum lun lur lus lut lute lux ly ma mach machine machines made main make makes mal man
many map mar marked mas mast mat matters may mbed me mean measure measured meet megab megabytes mel mem men mend mer mes mesh
mess mest met mi mid mil milk million mim min mine minus minut minutes mir mis mist mistakes mit ml mm mo mock model
models moisture mol mole mom moment mon moon mor morning moss most mostat mot mouse move moves mu much mug mul mum mun mus must
mut my myself na nail nal nam name named nan nar nas nat ne need needed neither nel nen ner nes ness nest net never new next ney
ni nice night nil nim ning nir nit node nodes noise nol nom non none nor nos notes nothing notify now nu nul num number nun
nur nursery nus nut oak oar ob object oe of ofa offee office offline ofia oft ok ol old om onas once one ong ongs only ont oo
ood ook ool oon oose ooth opened opening orch order ordin ordinator orn orry ort os ot other others ou ouble ouch ough ought
ould oun ound ount ountain our ourite ous ouse out ove oven ow ower own pa page pain painter pal palm pam pan pantry pap par
parameters parcel pare park pas pat path patient pe pear peat pel pem per percent person pet pi pic pick picked pient pier pil
pim pin pine pink pipe pir pis pl pla place plar play player ple please pliers plum plus po pol pole pom pon pony pool por porch
port pos posit position post postman power pp pped pper pping pple ppm ppy pres press pressure produ product pt pu pul pull
pulled pum pump pun pur pus put pute qu quality quant quantity quare quarium quay que queen quest question questions ra rab
rabbit race rad radio radle raft raid rail ral ram ramp ran rar rarium ras raw re reach read readings reci recipient red ree
reef reek reez reeze reezer rel rem ren renhe rent repeat request requests rer res reset resh ress ressure result ret return ri
rice ricity rid ridor ried rier right ril rim rin ring rink rinkler rir ris rism rit rite ro road robot rock rocks rod rodu rol
rom ron roo roof rook rooked root ror ros rose rot rove row ru rug rul rum run running runs rur rus rush rust rut ry sa sack
said sail sailor sal salt sam same san sand sang sar sas sat saw say says sc scar se sea seal search seat secon seconds see seen
sel select self sen send sensors ser serial server sery ses set sh share shared she shel sho shoe shopping should show
shutter shy si side sil silk silly sim sing sir sit sk skein sky sled sli slipped slo slow sm small smaller smi smiled sna snake
so sock socket sofa soft soil sol some someone something son sos sot sou sound soup sour sp spaces spe special spo spoke spot
sprinkler ss st stable stands star stars start stat state status stay stayed stays ste stem still sto stop stopped stor stories
story string stu studio stuff stuffy su subtract suc success such sul sum summar summary sur sure sus sut swan swer switch sy
system ta tail tain take takes tal tale talk tall tam tame tank tape tar target tas tat te tea tell tem temp temperature ten
tent ter tern terrace terrarium ters tery tes tet text th thank thanked thanks that thday their them then ther there thermostat
thern these they thim thin thing things think this thought thouse three ti tic tier til tile tim timeout tin ting
tion tir tis tit title tle to toad today together told tom ton too took tools tor tos tot town tr tra tract tree tru try ts tu
tul tum tun tur turn turned tus tw twice twig two ty uc ucer ue ued ues uest uestion ugo uit uki ul ula ult um uments ump un und
undle undry unit units unless unlocked until up upon ur ure urn urns us use used user ust ut ute utiful utter va val value
values valve vam van var vas vase vat ve vel vem ven vent ver vert very veryone ves vet vi vil village vim vin vine ving vir vis
vit vo voice vol vom von vor vos vot vu vul vum vun vur vus vut wa wal walked wall wam wan want wanted war warm warmer warmest
wat watts wave wax way we week ween wel welcome well wem wen went wer wes west wet wh what whe when whenever where
whether which white who whole whose wi wide wil wild will wim win wind window wine wing wir wis wit witch witche with without wk
wn wo wol wolf wom won wonder wondering wood wool wor word words work works workshop wot would wren wrench write wu wul wum wun
wur wus wut xt yal yard yarn ycle year years you your yours ytes za zal zam zan zar zas zat ze zel zem zen zer zes zet zi zil
zim zin zir zis zit zo zol zom zon zor zos zot zu zul zum zun zur zus zut""".split()
RARE = """about ac aces action ad adder af afraid ag again ah ahrenhe ahrenheit air ake akes al ality all allowed also alway ameters among
amount amp an ana ands anim animal anite ano another answer answers antry anyone anything apart apple ard ards are area arg
arget argued arium arts as ase ask asked assistant asure at ater ation ator attic av ave avid away ax bab back bag banana bat
bator battery be bear become bed bedroom been beh beli bell belongs bem ben beside best bet better between bi big bil bim bird
birthday bis bl black blue bo boards bod body bol bom bone book boolean boot bor bos both bowl boy brar brary bri brief briefly
brightness bring brings brought btract bul bum bur bus busy but buy by ca cage cal calculate called came camel can cannot care
cas case cat cean cellar celsius cen cent ces cess cet ch change charge che check chen cho choose ci cial cis cit city clear
climbed clo cm co coat code coffee colder coldest colour com come comes compare compared conne content convert cony coordinator
cos could count cow crab cri cribe ct cu cubator cul culate cum cun cur curi curious curl current cuse cut dark das dat day days
deep degrees del dem des det dev device devices di dial did dif differ difference different dil din dio dir dis dit do does dol
dom don done dos dot dove down dr dragon drank draw drill drink drum dry ds du dum dun dune dur duration dus dust dut each echo
ect edro ee ek elect electricity elix ellar ellow elsi elsius em emptier ena enable enabled end ens ensor entry ents eps erat
erature erful error ers ess even ever every everyone everything ex express fa fahrenheit fam family fan far fas fat fav
favourite fell fem fer fes fet few fil fill fim find fine fir first fis fish fit fol fom for fore fos fot found fox fri friend
friends from ft fu ful fum fur fus fut ga gab gal gap gar gat gel ger ges get gether getting ghe ghed ghthouse ghtness gi gif
gift gil gim gin gir gis git give given gives go goes gol gom good gor gos got gre green grees gu gul gum gun gur gus had hal
ham han hands hap happen happened har has hat have he hear heard heat heater hel hello help helpful her here hes het hey hf hi
hich high highe hil hin hir hog hol home hop hope hor hos hour hours how hroom hu hul hum humid humidity hur hus ia ial ices
idea ient ier ies if ifier iful ify ight iler ily in ines inge inte integer internet into inv invite io ise istant isture item
ither its ity ium iv ix jal jan jas jat ject jel jem jen jer jes jet jil jim jin jir jit jo join jol jon jor jos jot joy ju
juice jum jur jus just jut ka kal kan kas kat ke kebab keep kein kel kem kept kes key keys ki kil kim kin kind kir kis kit
kitchen kite knew kno know ko kol kom kon kor kot ks ku kul kum kun kus kut lack lag lage lal lam lamp lan larg large larger
lark lassroom lat lau laughed le lease leav leaves lee leeve left len let level liers light lights like lil lily lim line lion
lir lis listen lived lo loc local locked lol lom lon loo look looked lor los lost lot lou loudness lu lul lum lun lur lus
lut mach machine machines made make makes mal many map marked mas matters may mbed me measure measured megab megabytes men mes
mesh mess mest mi mil milk million mim min mine minus minut minutes mis mistakes mm mo model models moisture mol mom moment mon
morning moss mostat mot mouse move moves much mul mum mun mus must mut my myself nal nam name named nan nas nat need needed
neither nen nes ness never next ni nice night nim ning nir nit node nodes noise nol nom non none nor nos notes notify now nu nul
num nur nus oar ob object ofa offee offline ofia oft ok onas once one ong ongs only ook opened opening ordin ordinator orry
other ought ould oun ount ountain ourite ous ouse out pa painter pal parameters parcel pare pas pat peat percent person pic pick
pient pim pir pis play player please pliers plum plus pol pom pony por pos posit position postman power pp pped pping pple ppm
pres press pressure produ product pt pul pull pump pur put pute qu quality quant quantity quarium que queen quest question
questions rab rabbit race rad radio raid ral ram ran rar rarium ras re read readings reci recipient red ree reek reez reezer ren
renhe rent repeat request requests rer ressure result ret return ricity ridor rier right ril rin rink rinkler rir rit rite ro
road robot rock rodu rol rom roo ros rose rove rul run running runs rus rut said sailor sal sam same san sar sat saw say says
search see seen sel select self sen send sensors ser serial sery ses set sh shared shopping should show si silk silly sir
sk skein sled sli slipped sm small smaller smi snake so sock soil sol some someone son sos sot sound soup spaces spe special spo
spot st stands stat status stay stayed stays sto stop stopped stories story string stu stuff stuffy subtract suc success such
sul summar summary sur sure sus sut swan swer switch sy system tain take takes tal tale talk tall tape tar target tas tat te tea
tell tem temp temperature ter ters tery tes tet text th thank thanked thanks that thday their them then there these they thing
this thought thouse three tic tier til tim timeout ting tion tir tis tit title to today together tom too tools tor tos tot
tra tract try ts tum turn turned tw twice two uc ue ued ues uest uestion ugo uki ula ult um uments un undle undry unless
unlocked until up upon ure urn urns use used user ust utiful va values vam van var vat vem vert very veryone ves vil vim vin
ving vir vis vit vo vol vom von vor vos vot vu vul vum vun vur vus vut wa walked wam wanted war warm warmer warmest wat watts
wave way we ween welcome well wem wen went wet wh what when where whether which white who whole whose wi will wim win wind wir
wis wit witch witche with without wk wo wol wolf wom won wonder wondering wor word words work works wot would wren wrench write
wu wul wum wun wur wus wut xt ycle year years you your ytes zal zam zan zar zat zem zen zer zes zil zim zin zir zis zit zom zon
zul zum zur zus zut""".split()
"""Those of them that other words seldom have: half of the pieces of made-up names, or they would be said a few times in a whole training."""
PARTS = """note time message weather list timer any sensor above adds after ai amir and anna below boat cave clara close closed closes cold ctr ctrl cup david dear dog duck east emma
excuse false felix gem gold greta hall hen higher highest hmm hot house hugo ida ink is it jack jam jonas js json keeps last
lena leo less long lowest luc lucy max measures mia mill more mq mqtt music no nobody nora north not oat off oh on open opens or
oscar over owl owner paula pc pcs pedro pen plays pot rain rav ravi reading reads rep repo returns room rosa seed sends sets
shed soap sofia soon sorry starts step sun switche switches tells than the tool tray true tt turns under vera wait was water
were yes yuki zoe""".split()
"""Tokens that stand only within a name of several, for they are words of their own: which training leaves to held-out cases, which answers
turn on, or which tools are for (`toolbox.py`)."""
