"""Common words. One in seven is held out."""
from __future__ import annotations

NOUNS = """acorn apron arch arrow ash atlas axe badge bag bakery ball bamboo band bank barge bark barley barrel basin bat bay
beach beacon bead beam bean bed bee bell belt bench berry bicycle bike birch bird blanket block board boat bolt bone bonnet book
boot border bottle bow bowl box braid branch brass bread breeze brick bridge broom brook brush bubble bucket buckle bud bulb
bundle bunk bush butter button cabin cable cage cake camera camp canal candle cane canoe canvas cape card carpet carrot cart case
castle cave cedar cell chain chair chalk chapel chart cherry chest chimney chip circle clay cliff clip cloak clock cloth cloud
clover coal coast coat cobble coin collar comb comet copper coral cord cork corn corner cotton couch cove crab cradle crane crate
cream creek crest crow crown cube cup curl curve cushion dairy daisy dam deck deer den desk dew dial dike dock dome door dove
drawer dress drum duck dune dust eagle ear earth easel east echo edge elbow elm ember engine fabric fair falcon farm feather fence
fern ferry field fig fin fir fish flag flame flask fleece flint flour flower flute foam fog foil fold forge fork fort fountain frame
frost fruit funnel garlic gate gem giant ginger glass globe glove goat gold goose grain granite grape grass gravel grid grove gull
gutter hammer hammock handle harbor harp hat hawk hazel heath hedge helmet hen herb hill hinge hive hood hook horn horse hose hut ice
inn ink iris iron island ivy jacket jar jetty jewel juniper kettle kiln kite knot lace ladder lake lamb lane lantern lark latch lawn
leaf leather ledge lemon lens lever lid lily lime linen lock log loom lotus lute maple marble market marsh mask mast mat meadow melon
mesh mill mint mirror mist mole moon moose moss moth mountain mug nail needle nest net nettle north nut oak oar oat ocean olive onion
orange orbit orchid otter oven owl paddle page paint palm pan panel paper park parrot path pear pearl pebble pen pencil pepper perch
petal piano pier pigeon pillow pilot pin pine pipe plain plank plant plate plaza plum pocket pole pond pony pool poplar porch port post
pot prism pump quail quartz quay quill rack radish raft rail rain ramp raven reed reef ribbon rice ridge rim ring river road robin
rock rod roof root rope rose rudder rug rush sack saddle sage sail salt sand saucer scale scarf screw seal seat seed shade shelf shell
shirt shoe shore shovel shutter silk silver skate sky slate sled sleeve slope snail snow soap sock sofa south spade spark sparrow spear
sphere spice spider spoon spring spruce square stair star steam steel stem step stick stone stool storm stove straw stream string stump
sugar summit sun swan table tail tank tape tea tent thimble thistle thorn thread tile timber tin toad torch tower tray tree trout truck
trunk tub tulip tunnel turtle twig valley vase vault velvet vine violet wagon wall walnut water wave wax well west whale wharf wheat
wheel whistle willow wind window wing wire wolf wood wool wren yard yarn zinc""".split()
ADJECTIVES = """red blue green yellow white black grey brown pink golden silver old new big small tall low long short wide narrow deep
high upper lower inner outer front back left right north south east west first second third last main side middle quiet loud warm cold
cool dry wet soft hard round square flat steep bright dark dim clean dusty rusty shiny heavy light thick thin sweet sour bitter fresh
stale busy empty full open hidden secret lucky merry happy sad calm wild tame gentle rough smooth plain fancy simple double single
wooden iron stone glass paper woolen copper broken crooked straight early late slow quick spare extra little great holy royal rural
urban alpine coastal northern southern eastern western summer winter autumn spring""".split()


def part(words: list[str], held: bool) -> list[str]:
    return [word for i, word in enumerate(words) if (i % 7 == 3) == held]


PIECES = part(NOUNS, False) + part(ADJECTIVES, False)
"""What made-up names are pieced together from, in training."""
